//! Datagrams from the WAN, as B's tunnel gets them from anybody: garbage, real messages changed, shortened,
//! repeated, reordered and sent from elsewhere, with authentication codes that are right where the sender can
//! know them. (Whoever knows our public key can compute the first code of any handshake message.)

use std::time::Duration;

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use datapath_abi::outcome::DropReason;

use super::feed::{Feed, Script};
use super::gateways::{
    A, B, C, D, Datagram, FIRST, Node, REPLICA, SECOND, endpoint, ipv4, public_key, specs,
};
use crossway::io::udp::Endpoint;
use crossway::tunnel::message::{INITIATION_BYTES, RESPONSE_BYTES};
use crossway::tunnel::{Handled, PeerSnapshot};

/// Messages of a flood: more than are answered in a second without a cookie.
const FLOOD: usize = 210;
/// Floods of one input: each takes its time.
const FLOODS: u8 = 2;
/// Steps of one input.
const STEPS: usize = 64;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut scene = Scene::new(feed.bool());
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        scene.step(&mut feed);
    }
}

struct Scene {
    now: std::time::Instant,
    b: Node,
    /// A, and C which is B's replica.
    far: [(usize, Node); 2],
    /// Every datagram that was sent so far, whoever it was for.
    seen: Vec<Vec<u8>>,
    /// Inner packets that were sealed for B and have not come out there.
    sealed: Vec<Vec<u8>>,
    floods: u8,
}

impl Scene {
    fn new(with_sessions: bool) -> Self {
        let now = super::beginning();
        let node = |gateway| {
            if with_sessions {
                Node::resumed(gateway, now)
            } else {
                Node::with_peers(gateway, now, gateway != B)
            }
        };
        let mut scene = Self {
            now,
            b: node(B),
            far: [A, C].map(|gateway| (gateway, node(gateway))),
            seen: Vec::new(),
            sealed: Vec::new(),
            floods: 0,
        };
        scene.collect();
        scene
    }

    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() % 9 {
            0 => self.pass(feed.span()),
            1 => {
                let datagram = feed.chunk().to_vec();
                let from = place(feed);
                self.give(&datagram, from);
            }
            2 | 3 => {
                let datagram = self.changed(feed);
                let from = place(feed);
                self.give(&datagram, from);
            }
            4 => self.initiate(feed),
            5 => self.seal(feed),
            6 => self.give_far(feed),
            7 => self.repeat(feed),
            _ => self.flood(feed),
        }
        self.collect();
    }

    /// Time goes by for everybody.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.b.pass(span);
        for (_, node) in &mut self.far {
            node.pass(span);
        }
    }

    /// Notes what crosses the wire.
    fn collect(&mut self) {
        let sent = self.far.iter_mut().flat_map(|(_, node)| node.take());
        let sent: Vec<Datagram> = sent.chain(self.b.take()).collect();
        self.seen
            .extend(sent.into_iter().map(|(_, datagram)| datagram));
        // The last ones say enough.
        let surplus = self.seen.len().saturating_sub(128);
        self.seen.drain(..surplus);
    }

    /// A datagram that was seen, with some bits of it changed.
    fn changed(&self, feed: &mut Feed<'_>) -> Vec<u8> {
        let Some(at) = usize::from(feed.u8()).checked_rem(self.seen.len()) else {
            return Vec::new();
        };
        let mut datagram = self.seen[self.seen.len() - 1 - at].clone();
        let how = feed.u8();
        for _ in 0..how & 3 {
            let (at, value) = (usize::from(feed.u16()), feed.u8());
            let length = datagram.len().max(1);
            if let Some(byte) = datagram.get_mut(at % length) {
                *byte ^= value;
            }
        }
        if how & 4 != 0 {
            datagram.truncate(feed.u16().into());
        }
        if how & 8 != 0 {
            datagram.extend_from_slice(feed.chunk());
        }
        if how & 16 != 0 {
            stamp(&mut datagram);
        }
        datagram
    }

    /// Someone begins a handshake, with a timestamp of their choice: A, C, or D whom B does not know.
    fn initiate(&mut self, feed: &mut Feed<'_>) {
        let gateway = feed.of(&[A, C, D]);
        let ahead = Duration::from_nanos(feed.u64() >> 8);
        let mut node = Node::new(gateway, self.now, ahead);
        let first = specs(gateway).swap_remove(0);
        node.tunnel.add_peer(first, self.now, &mut node.out);
        let from = place(feed);
        for (_, initiation) in node.take() {
            self.give(&initiation, from);
            for (_, answer) in self.b.take() {
                node.handle(&answer, endpoint(B));
                self.seen.push(answer);
            }
            for (_, keepalive) in node.take() {
                self.give(&keepalive, from);
            }
        }
    }

    /// A or C seals a packet, which is held or on the wire then.
    fn seal(&mut self, feed: &mut Feed<'_>) {
        let (link, gateway) = feed.of(&[(FIRST, 0), (SECOND, 0), (REPLICA, 1)]);
        let packet = feed.chunk();
        self.far[gateway].1.seal(link, packet);
        self.sealed.push(packet.to_vec());
    }

    /// A far gateway gets something that was seen, changed or not.
    fn give_far(&mut self, feed: &mut Feed<'_>) {
        let gateway = usize::from(feed.bool());
        let datagram = self.changed(feed);
        let (_, node) = &mut self.far[gateway];
        node.handle(&datagram, endpoint(B));
    }

    /// Everything of late once more.
    fn repeat(&mut self, feed: &mut Feed<'_>) {
        let last = usize::from(feed.u8() % 16);
        let first = self.seen.len().saturating_sub(last);
        let again = self.seen[first..].to_vec();
        for datagram in again {
            self.give(&datagram, endpoint(A));
        }
    }

    /// So many handshake messages within a moment, cheap to make and to refuse, that cookies are demanded.
    fn flood(&mut self, feed: &mut Feed<'_>) {
        let from = place(feed);
        if self.floods == FLOODS {
            return;
        }
        self.floods += 1;
        let mut message = [0xff; RESPONSE_BYTES];
        message[..4].copy_from_slice(&[2, 0, 0, 0]);
        stamp(&mut message);
        for _ in 0..FLOOD {
            self.give(&message, from);
        }
    }

    /// B gets a datagram.
    fn give(&mut self, datagram: &[u8], from: Endpoint) {
        self.collect();
        let before = self.b.snapshot();
        let (handled, landing) = self.b.handle(datagram, from);
        let answers = self.b.take();
        match &handled {
            Handled::Packet(length) => self.take_out(&landing[..*length]),
            Handled::FromReplica(link, payload) => {
                assert_eq!(*link, REPLICA, "only a replica speaks to control");
                assert!(payload.end <= landing.len());
            }
            Handled::Control => {}
            Handled::Dropped(reason) => check_drop(*reason, datagram, &answers),
        }
        if let Handled::Dropped(reason) = handled
            && !is_authentic(reason)
        {
            assert_eq!(told(&before), told(&self.b.snapshot()), "{reason:?}");
        }
        self.seen
            .extend(answers.into_iter().map(|(_, bytes)| bytes));
    }

    /// What comes out was put in by a peer, and comes out once.
    fn take_out(&mut self, packet: &[u8]) {
        let found = self.sealed.iter().position(|sealed| {
            // A peer may pad.
            sealed.starts_with(packet)
        });
        let found = found.unwrap_or_else(|| panic!("nobody sealed {packet:02x?}"));
        self.sealed.remove(found);
    }
}

/// One of the places on the WAN, of a gateway or of nobody.
fn place(feed: &mut Feed<'_>) -> Endpoint {
    match feed.u8() {
        number @ 0..4 => endpoint(number.into()),
        number => {
            let [a, b] = feed.array();
            Endpoint::new(([198, 51, a, number], u16::from(b)).into())
        }
    }
}

/// Who knows no key gets less back than it sends, and nothing but a cookie.
fn check_drop(reason: DropReason, datagram: &[u8], answers: &[Datagram]) {
    if is_authentic(reason) {
        return;
    }
    let bytes: usize = answers.iter().map(|(_, answer)| answer.len()).sum();
    assert!(bytes < datagram.len().max(1), "{reason:?}");
    let asked = reason == DropReason::CookieDemanded;
    assert_eq!(answers.len(), usize::from(asked), "{reason:?}");
}

/// Whether a message that was dropped for this reason had been sealed by the peer.
fn is_authentic(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::InnerMalformed | DropReason::SourceNotInSite | DropReason::LivenessInvalid
    )
}

/// What nobody without a key may change: where peers are, and what was counted.
fn told(peers: &[PeerSnapshot]) -> Vec<(Option<Endpoint>, [u64; 4], bool)> {
    let told = peers.iter().map(|peer| {
        let counters = [
            peer.sent_packets,
            peer.sent_bytes,
            peer.received_packets,
            peer.received_bytes,
        ];
        (peer.endpoint, counters, peer.handshake_age.is_some())
    });
    told.collect()
}

/// Writes the first authentication code of a handshake message to B (whitepaper 5.4.4).
fn stamp(message: &mut [u8]) {
    if message.len() != INITIATION_BYTES && message.len() != RESPONSE_BYTES {
        return;
    }
    let hash = Blake2s256::new()
        .chain_update(b"mac1----")
        .chain_update(public_key(B));
    let (body, codes) = message.split_at_mut(message.len() - 32);
    let mut mac =
        <Blake2sMac<U16> as KeyInit>::new_from_slice(&hash.finalize()).expect("a key of 32 bytes");
    Update::update(&mut mac, body);
    codes[..16].copy_from_slice(&mac.finalize_fixed());
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packet = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 60);
    let sealed = |script: Script| script.u8(5).u8(0).chunk(&packet);
    let unchanged = |script: Script, at: u8| script.u8(2).u8(at).u8(0).u8(A as u8);
    let fresh = || Script::default().u8(0);
    let live = || Script::default().u8(1);
    // A's initiation comes after a flood, and A gets the cookie.
    let first_cookie = |script: Script| {
        let script = unchanged(script.u8(8).u8(9).u16(7), 11);
        script.u8(6).u8(0).u8(0).u8(0)
    };
    vec![
        // A handshake from each side, answered.
        unchanged(fresh(), 0).u8(6).u8(0).u8(0).u8(0).end(),
        Script::default()
            .u8(0)
            .u8(7)
            .u8(4)
            .u8(6)
            .u8(0)
            .u8(0)
            .u8(0)
            .end(),
        // A data message, again, then with a bit changed, cut and grown.
        unchanged(unchanged(sealed(live()), 0), 0).end(),
        sealed(live()).u8(2).u8(0).u8(1).u16(40).u8(1).u8(0).end(),
        sealed(live()).u8(2).u8(0).u8(4).u16(31).u8(0).end(),
        sealed(live()).u8(2).u8(0).u8(8).chunk(&[7; 9]).u8(0).end(),
        // Initiations of everybody, with timestamps that rise and fall, stamped anew, from elsewhere.
        live().u8(4).u8(0).u64(1 << 50).u8(0).end(),
        live().u8(4).u8(2).u64(1 << 50).u8(9).u16(7).end(),
        live()
            .u8(4)
            .u8(0)
            .u64(1 << 60)
            .u8(0)
            .u8(4)
            .u8(0)
            .u64(0)
            .u8(0)
            .end(),
        live()
            .u8(4)
            .u8(1)
            .u64(1 << 50)
            .u8(2)
            .u8(2)
            .u8(0)
            .u8(0x11)
            .u16(60)
            .u8(1)
            .u8(0)
            .end(),
        // A flood, and those who come after it: with no cookie, then with theirs.
        live()
            .u8(8)
            .u8(9)
            .u16(7)
            .u8(4)
            .u8(0)
            .u64(1 << 50)
            .u8(0)
            .end(),
        unchanged(first_cookie(fresh()).u8(0).u16(6000).u8(8).u8(9).u16(7), 11).end(),
        // Time passes until keys are too old.
        sealed(live().u8(0).u16(60_000).u8(0).u16(2048 | 0xf)).end(),
        live()
            .u8(1)
            .chunk(&[4, 0, 0, 0, 1, 0x11, 0xab, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .u8(0)
            .end(),
    ]
}
