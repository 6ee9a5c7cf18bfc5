//! The two authentication codes of handshake messages and the cookies behind the second
//! (whitepaper 5.3 and 5.4.4): cheap proofs that are asked for before public-key work is done.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Mac, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInPlace;
use datapath_abi::outcome::DropReason;
use rand::Rng;

use super::allowance::{Allowance, Allowances, Rate};
use super::message::{self, COOKIE_BYTES, Message};

/// Handshake messages that are answered without a cookie.
const CALM: Rate = Rate {
    per_second: 200,
    burst: 200,
};
/// How long a gateway counts as under load after the last message beyond [`CALM`], as in the kernel.
const LOAD_LASTS: Duration = Duration::from_secs(1);
/// Messages under load from an address that a peer is known to have: somebody who does not know it cannot
/// keep a peer out, and somebody who does costs no more than this. Of many lanes each has an allowance of its own.
const OF_A_PEERS_ADDRESS: Rate = Rate {
    per_second: 20,
    burst: 32,
};
const OF_PEERS_ADDRESSES: Rate = CALM;
/// Messages under load with a cookie: of one source as in the kernel; of all, a tenth of a core's time.
const OF_A_PROVEN_SOURCE: Rate = Rate {
    per_second: 20,
    burst: 5,
};
const OF_PROVEN_SOURCES: Rate = Rate {
    per_second: 1000,
    burst: 200,
};
/// Age at which the secret behind our cookies is replaced.
const SECRET_LIFETIME: Duration = Duration::from_mins(2);
/// Age at which a cookie of a peer is no longer worth sending: its secret may be replaced on the way.
const COOKIE_LIFETIME: Duration = Duration::from_secs(115);

/// Cookie replies that are given whatever else there is to do: each costs some 5 µs of hashing and sending. What comes
/// beyond them costs only its receiving.
const COOKIES: Rate = Rate {
    per_second: 5000,
    burst: 500,
};
/// More of them, where data leaves the time: an eighth of a core's at most.
const SPARE_COOKIES: Rate = Rate {
    per_second: 20_000,
    burst: 2000,
};
/// So many data messages take the time of a cookie from those.
const DATA_OF_A_COOKIE: u32 = 8;

/// Cookie replies to whoever shows a wrong one, as an honest peer does once in two minutes. They have an allowance of
/// their own, so that wrong ones do not take what others ask for.
const RENEWED_COOKIES: Rate = Rate {
    per_second: 2500,
    burst: 500,
};

/// Second codes that are looked at under load, right or wrong: each costs three hashes, some 1.5 µs. Not of each source:
/// who sends wrong ones in the name of a peer would keep it out.
const SHOWN: Rate = Rate {
    per_second: 50_000,
    burst: 5000,
};

/// Bytes of one authentication code, and of a cookie.
const CODE: usize = 16;
/// Bytes of both codes, at a message's end.
pub(super) const MACS: usize = 2 * CODE;
/// Where a cookie reply's nonce and sealed cookie lie.
const NONCE: Range<usize> = 8..32;
const SEALED: Range<usize> = 32..48;
const TAG: Range<usize> = 48..COOKIE_BYTES;

/// What the gatekeeper says of a handshake message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its first authentication code is right, and its second where one is demanded.
    Admitted,
    /// Under load: a cookie reply of this length was written.
    Cookie(usize),
    /// Refused.
    Refused(DropReason),
}

/// Checks handshake messages to this gateway.
pub(super) struct Gatekeeper {
    keys: MacKeys,
    /// What cookies are made from, and since when.
    secret: ([u8; 32], Instant),
    calm: Allowance,
    /// Until when it counts as under load.
    loaded_until: Instant,
    peers_addresses: Allowances,
    proven: Allowances,
    cookies: Allowance,
    spare_cookies: Allowance,
    renewed_cookies: Allowance,
    shown: Allowance,
}

/// What is known of a handshake message before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Stranger,
    /// A peer is known to be at its source, or it answers a message of ours.
    Known,
    /// It shows the badge of a peer.
    Introduced,
    /// It answers nothing that we have sent.
    Uninvited,
}

impl Gatekeeper {
    /// For messages to the owner of this public key.
    pub(super) fn new(public_key: &[u8; 32], now: Instant) -> Self {
        Self {
            keys: MacKeys::of(public_key),
            secret: (rand::rng().random(), now),
            calm: Allowance::new(CALM, now),
            loaded_until: now,
            peers_addresses: Allowances::new(OF_A_PEERS_ADDRESS, OF_PEERS_ADDRESSES, now),
            proven: Allowances::new(OF_A_PROVEN_SOURCE, OF_PROVEN_SOURCES, now),
            cookies: Allowance::new(COOKIES, now),
            spare_cookies: Allowance::new(SPARE_COOKIES, now),
            renewed_cookies: Allowance::new(RENEWED_COOKIES, now),
            shown: Allowance::new(SHOWN, now),
        }
    }

    /// Whether there were too many handshakes of late. If not, nobody's standing matters.
    pub(super) fn is_loaded(&self, now: Instant) -> bool {
        now < self.loaded_until
    }

    /// So many data messages were sealed and opened since this was said last; those that are still to be said.
    pub(super) fn on_data(&mut self, messages: u32, now: Instant) -> u32 {
        self.spare_cookies.charge(messages / DATA_OF_A_COOKIE, now);
        messages % DATA_OF_A_COOKIE
    }

    /// Judges a handshake message; a cookie reply goes to the start of `reply`.
    pub(super) fn admit(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        standing: Standing,
        now: Instant,
        reply: &mut [u8],
    ) -> Admission {
        if let Some(Message::Cookie { .. }) = Message::parse(datagram) {
            // It has no codes: what it answers is in its seal.
            return Admission::Admitted;
        }
        let Some((body, first, second)) = split_codes(datagram) else {
            return Admission::Refused(DropReason::NotWireGuard);
        };
        // Who has no cookie leaves the second code empty.
        let shows_cookie = second != [0; CODE];
        // What a stranger gets under load is paid for before the first hash, what others get when they have used up
        // their own.
        let stranger = self.is_loaded(now) && standing == Standing::Stranger;
        if stranger && !self.pay(shows_cookie, now) {
            return Admission::Refused(DropReason::HandshakeRateLimited);
        }
        if !verifies(&self.keys.mac1, &[body], first) {
            return Admission::Refused(DropReason::BadMac);
        }
        if standing == Standing::Uninvited {
            return Admission::Refused(DropReason::HandshakeInvalid);
        }
        if !self.count(now) || standing == Standing::Introduced {
            return Admission::Admitted;
        }
        if standing == Standing::Known && self.peers_addresses.take(source.ip(), now) {
            return Admission::Admitted;
        }
        if !stranger && !self.pay(shows_cookie, now) {
            return Admission::Refused(DropReason::HandshakeRateLimited);
        }
        let cookie = self.cookie_for(source, now);
        if shows_cookie {
            let limited = if verifies(&cookie, &[body, first], second) {
                if self.proven.take(source.ip(), now) {
                    return Admission::Admitted;
                }
                true
            } else {
                !self.renewed_cookies.take(now)
            };
            if limited {
                return Admission::Refused(DropReason::HandshakeRateLimited);
            }
        }
        let sender = message::sender(datagram).unwrap_or_default();
        Admission::Cookie(self.write_cookie(sender, first, cookie, reply))
    }

    /// Takes what a look at a cookie, or a new one, costs; whether there was enough.
    fn pay(&mut self, shows_cookie: bool, now: Instant) -> bool {
        if shows_cookie {
            self.shown.take(now)
        } else {
            self.cookies.take(now) || self.spare_cookies.take(now)
        }
    }

    /// Counts a message; whether the gateway is under load.
    fn count(&mut self, now: Instant) -> bool {
        if !self.calm.take(now) {
            self.loaded_until = now + LOAD_LASTS;
        }
        self.is_loaded(now)
    }

    fn cookie_for(&mut self, source: SocketAddr, now: Instant) -> [u8; CODE] {
        if now.saturating_duration_since(self.secret.1) >= SECRET_LIFETIME {
            self.secret = (rand::rng().random(), now);
        }
        let port = source.port().to_be_bytes();
        match source.ip().to_canonical() {
            IpAddr::V4(ip) => code(&self.secret.0, &[&ip.octets(), &port]),
            IpAddr::V6(ip) => code(&self.secret.0, &[&ip.octets(), &port]),
        }
    }

    fn write_cookie(
        &self,
        receiver: u32,
        first: &[u8],
        cookie: [u8; CODE],
        reply: &mut [u8],
    ) -> usize {
        message::write_cookie(reply, receiver);
        rand::rng().fill(&mut reply[NONCE]);
        reply[SEALED].copy_from_slice(&cookie);
        let (head, sealed) = reply.split_at_mut(SEALED.start);
        let tag = self
            .keys
            .cookie_cipher()
            .encrypt_in_place_detached(head[NONCE].into(), first, &mut sealed[..CODE])
            .expect("a cookie is short");
        reply[TAG].copy_from_slice(&tag);
        COOKIE_BYTES
    }
}

/// Puts the codes on our handshake messages to one peer.
pub(super) struct Stamper {
    keys: MacKeys,
    /// The first code of the message sent last, which a cookie reply is bound to.
    last: Option<[u8; CODE]>,
    cookie: Option<([u8; CODE], Instant)>,
}

impl Stamper {
    /// For messages to the owner of this public key.
    pub(super) fn new(public_key: &[u8; 32]) -> Self {
        Self {
            keys: MacKeys::of(public_key),
            last: None,
            cookie: None,
        }
    }

    /// Writes the codes at the end of a message; whether it has a cookie for the second.
    pub(super) fn stamp(&mut self, message: &mut [u8], now: Instant) -> bool {
        let (body, codes) = message.split_at_mut(message.len() - MACS);
        let (first, second) = codes.split_at_mut(CODE);
        let code1 = code(&self.keys.mac1, &[body]);
        first.copy_from_slice(&code1);
        self.last = Some(code1);
        match self.cookie {
            Some((cookie, since)) if is_valid(since, now) => {
                second.copy_from_slice(&code(&cookie, &[body, first]));
                true
            }
            _ => {
                second.fill(0);
                false
            }
        }
    }

    /// Takes a cookie reply; whether it answers the message that was sent last.
    pub(super) fn take_cookie(&mut self, reply: &[u8], now: Instant) -> bool {
        // Taken, so that a second reply to the same message changes nothing.
        let (Some(last), COOKIE_BYTES) = (self.last, reply.len()) else {
            return false;
        };
        let mut cookie = [0; CODE];
        cookie.copy_from_slice(&reply[SEALED]);
        let opened = self.keys.cookie_cipher().decrypt_in_place_detached(
            reply[NONCE].into(),
            &last,
            &mut cookie,
            reply[TAG].into(),
        );
        if opened.is_ok() {
            self.last = None;
            self.cookie = Some((cookie, now));
        }
        opened.is_ok()
    }
}

fn is_valid(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < COOKIE_LIFETIME
}

/// What both sides derive from the public key of a message's receiver.
struct MacKeys {
    mac1: [u8; 32],
    cookie: [u8; 32],
}

impl MacKeys {
    fn of(public_key: &[u8; 32]) -> Self {
        let hash = |label: &[u8]| {
            Blake2s256::new()
                .chain_update(label)
                .chain_update(public_key)
                .finalize()
                .into()
        };
        Self {
            mac1: hash(b"mac1----"),
            cookie: hash(b"cookie--"),
        }
    }

    fn cookie_cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.cookie.into())
    }
}

/// A message without its codes, its first code and its second.
pub(super) fn split_codes(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (body, codes) = message.split_at_checked(message.len().checked_sub(MACS)?)?;
    let (first, second) = codes.split_at(CODE);
    Some((body, first, second))
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Blake2sMac<U16> {
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(key).expect("at most 32 bytes");
    for part in parts {
        Update::update(&mut mac, part);
    }
    mac
}

/// A code of `parts` under a key of at most 32 bytes.
pub(super) fn code(key: &[u8], parts: &[&[u8]]) -> [u8; CODE] {
    keyed(key, parts).finalize_fixed().into()
}

/// In constant time.
fn verifies(key: &[u8], parts: &[&[u8]], expected: &[u8]) -> bool {
    keyed(key, parts).verify_slice(expected).is_ok()
}
