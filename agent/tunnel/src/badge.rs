//! What our initiations carry where WireGuard has nothing: a proof that a peer has sent them, which the far gateway
//! checks before any public-key work. A flood of initiations from forged addresses cannot be told from a peer that
//! nobody knows the address of, but by cookies, and those cost the gateway more than all else that it does for the
//! flood. A badge costs it one look-up.
//!
//! Both ends agree on a secret by their static keys alone, once. The second code of an initiation (whitepaper 5.4.4),
//! which is zero until there is a cookie, holds eight bytes that are the peer's name, made from the secret and the time,
//! and eight that are a code of the whole message. Both can only be made by who has one of the two private keys.
//!
//! A stock gateway takes a badge for a cookie that is wrong, which it answers as it does none: with a cookie, if it is
//! under load, and else not at all. Whoever listens on the way sees that initiations of the same two minutes have the
//! same sender, but not who that is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use blake2::{Blake2s256, Digest};
use zeroize::Zeroizing;

use crate::allowance::{Allowances, Rate};
use crate::macs::{code, split_codes};
use crate::noise::Identity;

/// A name is good for about as long as a cookie. The clocks of both ends may differ by as much.
const EPOCH: Duration = Duration::from_secs(128);
/// Bytes of a name, and of the code behind it.
const HALF: usize = 8;

/// Initiations with a badge under load: of one peer, and of all of a lane, a tenth of a core's time.
const OF_A_PEER: Rate = Rate {
    per_second: 20,
    burst: 32,
};
const OF_PEERS: Rate = Rate {
    per_second: 1000,
    burst: 200,
};

/// What the badges of one direction between two gateways are made with.
#[derive(Clone)]
pub(super) struct BadgeKey(Zeroizing<[u8; 32]>);

impl BadgeKey {
    /// Of initiations from here to `peer`. `None` where that is no key that a secret can be agreed with.
    pub(super) fn towards(identity: &Identity, peer: &[u8; 32]) -> Option<Self> {
        Self::to_receiver(identity, peer, peer)
    }

    /// Of initiations from `peer` to here.
    fn from(identity: &Identity, peer: &[u8; 32]) -> Option<Self> {
        Self::to_receiver(identity, peer, &identity.public_key())
    }

    fn to_receiver(identity: &Identity, peer: &[u8; 32], receiver: &[u8; 32]) -> Option<Self> {
        let secret = identity.agree_with(peer)?;
        let key = Blake2s256::new()
            .chain_update(b"crossway badge of initiations to")
            .chain_update(receiver)
            .chain_update(secret.as_slice())
            .finalize();
        Some(Self(Zeroizing::new(key.into())))
    }

    /// Puts a badge on an initiation that has its first code and no cookie.
    pub(super) fn show(&self, initiation: &mut [u8], since_epoch: Duration) {
        let Some((body, first, _)) = split_codes(initiation) else {
            return;
        };
        let (name, code) = (self.name(epoch(since_epoch)), self.code(body, first));
        let at = initiation.len() - 2 * HALF;
        initiation[at..at + HALF].copy_from_slice(&name);
        initiation[at + HALF..].copy_from_slice(&code);
    }

    fn name(&self, epoch: u64) -> [u8; HALF] {
        half(code(self.0.as_slice(), &[b"name", &epoch.to_be_bytes()]))
    }

    fn code(&self, body: &[u8], first: &[u8]) -> [u8; HALF] {
        half(code(self.0.as_slice(), &[b"code", body, first]))
    }
}

/// The badges that peers may show now.
pub(super) struct Badges {
    keys: HashMap<[u8; 32], BadgeKey>,
    /// Whose name it is, of the epochs around the one in which they were made.
    names: HashMap<[u8; HALF], [u8; 32]>,
    /// `None` where peers have come or gone since.
    made_in: Option<u64>,
    allowances: Allowances,
}

impl Badges {
    /// Nobody's.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            keys: HashMap::new(),
            names: HashMap::new(),
            made_in: None,
            allowances: Allowances::new(OF_A_PEER, OF_PEERS, now),
        }
    }

    /// Those of `peer` as well.
    pub(super) fn add(&mut self, identity: &Identity, peer: &[u8; 32]) {
        if !self.keys.contains_key(peer)
            && let Some(key) = BadgeKey::from(identity, peer)
        {
            self.keys.insert(*peer, key);
            self.made_in = None;
        }
    }

    /// Those of `peer` no more.
    pub(super) fn remove(&mut self, peer: &[u8; 32]) {
        self.keys.remove(peer);
        self.made_in = None;
    }

    /// Whether `initiation` shows the badge of a peer that has not used up what it may ask for. What it may is taken
    /// before its code is looked at: names can be copied on the way, and looks cost a hash.
    pub(super) fn admit(&mut self, initiation: &[u8], since_epoch: Duration, now: Instant) -> bool {
        let Some((body, first, badge)) = split_codes(initiation) else {
            return false;
        };
        let (Some(name), true) = (badge.first_chunk::<HALF>(), badge != [0; 2 * HALF]) else {
            return false;
        };
        self.make_names(epoch(since_epoch));
        let Some(key) = self.names.get(name).and_then(|peer| self.keys.get(peer)) else {
            return false;
        };
        self.allowances.take_of(u64::from_ne_bytes(*name), now)
            && key.code(body, first) == badge[HALF..]
    }

    /// Thousands of peers take some milliseconds, once in two minutes of a flood.
    fn make_names(&mut self, epoch: u64) {
        if self.made_in == Some(epoch) {
            return;
        }
        self.made_in = Some(epoch);
        self.names.clear();
        for (peer, key) in &self.keys {
            let around = epoch.saturating_sub(1)..=epoch.saturating_add(1);
            let names = around.map(|epoch| (key.name(epoch), *peer));
            self.names.extend(names);
        }
    }
}

fn epoch(since_epoch: Duration) -> u64 {
    since_epoch.as_secs() / EPOCH.as_secs()
}

fn half(code: [u8; 2 * HALF]) -> [u8; HALF] {
    *code.first_chunk().expect("a code is twice as long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::macs::Stamper;
    use crate::message::{self, INITIATION_BYTES};
    use crossway_sys::clock;

    const TIME: Duration = Duration::from_hours(1000);

    fn identity(number: u8) -> Identity {
        Identity::new([number; 32])
    }

    /// An initiation of gateway 1 to gateway 2.
    fn initiation(number: u32, since_epoch: Duration) -> Vec<u8> {
        let to = identity(2).public_key();
        let mut initiation = vec![0x5a; INITIATION_BYTES];
        message::write_initiation(&mut initiation, number);
        Stamper::new(&to).stamp(&mut initiation, clock::now());
        let key = BadgeKey::towards(&identity(1), &to).unwrap();
        key.show(&mut initiation, since_epoch);
        initiation
    }

    /// Those of gateway 2, whose peer gateway 1 is.
    fn badges() -> Badges {
        let mut badges = Badges::new(clock::now());
        badges.add(&identity(2), &identity(1).public_key());
        badges
    }

    #[test]
    fn a_peer_is_known_by_its_badge_and_nothing_of_it_may_be_changed() {
        let (mut badges, mut now) = (badges(), clock::now());
        let good = initiation(7, TIME);
        assert!(badges.admit(&good, TIME, now));
        for at in 0..good.len() {
            now += Duration::from_secs(1);
            let mut forged = good.clone();
            forged[at] ^= 1;
            assert!(!badges.admit(&forged, TIME, now), "byte {at}");
        }
        assert!(!badges.admit(&good[..31], TIME, now));
    }

    #[test]
    fn a_badge_is_for_one_receiver_and_one_direction() {
        let now = clock::now();
        let good = initiation(7, TIME);
        let (one, two, three) = (identity(1), identity(2), identity(3));
        let at = |own: &Identity, peer: &Identity| {
            let mut badges = Badges::new(now);
            badges.add(own, &peer.public_key());
            badges.admit(&good, TIME, now)
        };
        assert!(at(&two, &one));
        assert!(!at(&one, &two), "sent back to who made it");
        assert!(!at(&three, &one));
        assert!(!at(&two, &three));
    }

    #[test]
    fn clocks_may_differ_by_two_minutes() {
        let mut badges = badges();
        let now = clock::now();
        let good = initiation(7, TIME);
        let mut later = |by| badges.admit(&good, TIME + by, now);
        assert!(later(Duration::ZERO));
        assert!(later(EPOCH));
        assert!(!later(EPOCH * 2 + EPOCH));
        let early = initiation(8, TIME + EPOCH);
        assert!(badges.admit(&early, TIME, now));
        let names = |time| initiation(7, time)[INITIATION_BYTES - 16..][..HALF].to_vec();
        assert_ne!(
            names(TIME),
            names(TIME + EPOCH),
            "nobody has one name for long"
        );
    }

    #[test]
    fn peers_that_come_and_go_are_known_at_once() {
        let mut badges = badges();
        let now = clock::now();
        let good = initiation(7, TIME);
        assert!(badges.admit(&good, TIME, now));
        badges.remove(&identity(1).public_key());
        assert!(!badges.admit(&good, TIME, now));
        badges.add(&identity(2), &identity(1).public_key());
        assert!(badges.admit(&good, TIME, now));
    }

    #[test]
    fn whoever_copies_a_badge_costs_no_more_than_a_peer_may() {
        let mut badges = badges();
        let now = clock::now();
        let copied = initiation(7, TIME);
        let admitted = (0..1000).filter(|_| badges.admit(&copied, TIME, now));
        assert_eq!(admitted.count(), OF_A_PEER.burst as usize);
    }
}
