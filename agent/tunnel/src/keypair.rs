//! The keys of one session and what was sent and received under them, and the sessions of a peer.

use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;
use wireguard_aead::Key;
use zeroize::{Zeroize, Zeroizing};

use super::arrivals::Arrivals;
use super::message::{self, DATA_HEADER};
use super::noise::TransportKeys;
use super::replay::ReplayWindow;
use crossway_types::codec::{Damaged, Reader, Writer};

/// Messages after which a session is renewed (whitepaper 6.1).
pub(super) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Messages after which a session may not be used, so that no counter and no replay window overflows.
pub(super) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Age at which a session ends.
pub(super) const REJECT_AFTER: Duration = Duration::from_mins(3);
/// Sessions kept beside the current one: two that may be the next, and those before, under which messages may
/// still be on their way.
const OTHERS: usize = 4;

/// One session.
pub(super) struct Keypair {
    /// Our receiver index, with its session part.
    pub(super) local: u32,
    /// Theirs.
    pub(super) remote: u32,
    /// When it was agreed.
    pub(super) created: Instant,
    /// Whether it was begun from here.
    pub(super) initiator: bool,
    /// Whether the far side is known to have it as well: nothing is sent under it before.
    confirmed: bool,
    /// `None` once it is forgotten.
    sending: Option<Key>,
    counter: u64,
    receiving: Key,
    window: ReplayWindow,
    /// What `sending` and `receiving` were made from, for the agent that takes over.
    keys: TransportKeys,
}

impl Keypair {
    /// A session without a message.
    pub(super) fn new(
        keys: TransportKeys,
        local: u32,
        remote: u32,
        initiator: bool,
        created: Instant,
    ) -> Box<Self> {
        Box::new(Self {
            local,
            remote,
            created,
            initiator,
            confirmed: initiator,
            sending: Some(Key::new(&keys.sending)),
            counter: 0,
            receiving: Key::new(&keys.receiving),
            window: ReplayWindow::new(),
            keys,
        })
    }

    /// Writes `packet` as a data message to the start of `to`, padded within `mtu`; its length. `None` when the session
    /// is used up.
    pub(super) fn seal(&mut self, packet: &[u8], mtu: usize, to: &mut [u8]) -> Option<usize> {
        let counter = self.counter;
        let sending = self.sending.as_ref()?;
        if counter >= REJECT_AFTER_MESSAGES {
            return None;
        }
        self.counter = counter + 1;
        message::write_data(to, self.remote, counter);
        let (padded, to) = (message::padded(packet, mtu), &mut to[DATA_HEADER..]);
        Some(DATA_HEADER + sending.seal_padded(counter, packet, padded, to))
    }

    /// Opens a data message to the start of `landing`; the length of what was in it.
    pub(super) fn open(
        &mut self,
        datagram: &[u8],
        landing: &mut [u8],
        arrivals: &mut Arrivals,
    ) -> Result<usize, DropReason> {
        let counter = message::counter(datagram).ok_or(DropReason::NotWireGuard)?;
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::Replayed);
        }
        if let Some(why) = self.window.refusal(counter) {
            arrivals.on_refused(why);
            return Err(DropReason::Replayed);
        }
        let length = self
            .receiving
            .open(counter, &datagram[DATA_HEADER..], landing)
            .map_err(|_| DropReason::AuthenticationFailed)?;
        arrivals.on_accepted(self.window.expected(), counter);
        self.window.accept(counter);
        Ok(length)
    }

    /// Nothing can be sent under it any more.
    fn forget_sending_key(&mut self) {
        self.sending = None;
        self.keys.sending.zeroize();
        self.counter = REJECT_AFTER_MESSAGES;
    }

    /// For the agent that takes over: from now on nothing is to be sealed with this one.
    fn export(&self, to: &mut Writer) {
        to.u32(self.local);
        to.u32(self.remote);
        to.instant(self.created);
        to.bool(self.initiator);
        to.bool(self.confirmed);
        to.u64(self.counter);
        to.bytes(self.keys.sending.as_slice());
        to.bytes(self.keys.receiving.as_slice());
        self.window.export(to);
    }

    fn import(from: &mut Reader<'_>) -> Result<Box<Self>, Damaged> {
        let (local, remote, created) = (from.u32()?, from.u32()?, from.instant()?);
        let (initiator, confirmed, counter) = (from.bool()?, from.bool()?, from.u64()?);
        let keys = TransportKeys {
            sending: Zeroizing::new(from.array()?),
            receiving: Zeroizing::new(from.array()?),
        };
        let mut keypair = Self::new(keys, local, remote, initiator, created);
        keypair.confirmed = confirmed;
        keypair.counter = counter;
        if counter >= REJECT_AFTER_MESSAGES {
            keypair.forget_sending_key();
        }
        keypair.window = ReplayWindow::import(from)?;
        Ok(keypair)
    }

    /// Whether so much was sent that it must be renewed.
    pub(super) fn is_worn(&self) -> bool {
        self.counter >= REKEY_AFTER_MESSAGES
    }

    /// As if `counter` messages had been sent.
    #[cfg(test)]
    pub(super) fn wear(&mut self, counter: u64) {
        self.counter = counter;
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Instant {
        self.created + REJECT_AFTER
    }
}

/// The sessions of one peer. Each stays where it was made: a copy that is moved from is not cleared.
#[derive(Default)]
pub(super) struct Keypairs {
    current: Option<Box<Keypair>>,
    /// Newest last.
    #[expect(
        clippy::vec_box,
        reason = "a vector that moves its elements leaves keys behind"
    )]
    others: Vec<Box<Keypair>>,
    /// Of all sessions, those before as well.
    arrivals: Arrivals,
}

impl Keypairs {
    /// What came under them.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// Goes on counting where another agent ended.
    pub(super) fn set_arrivals(&mut self, arrivals: Arrivals) {
        self.arrivals = arrivals;
    }

    /// The one to send with.
    pub(super) fn current(&mut self) -> Option<&mut Keypair> {
        self.current.as_deref_mut()
    }

    /// The same, to be read.
    pub(super) fn peek(&self) -> Option<&Keypair> {
        self.current.as_deref()
    }

    /// Adds one that we began: the far side has it already.
    pub(super) fn add_confirmed(&mut self, keypair: Box<Keypair>) {
        self.make_current(keypair);
    }

    /// Adds one that the far side began, and may not have until it sends under it. Of other such only the newest is
    /// kept: a far side that begins anew may have got our answer to that after all, and data under way.
    pub(super) fn add_unconfirmed(&mut self, keypair: Box<Keypair>) {
        let newest = self.others.iter().rposition(|other| !other.confirmed);
        let mut at = 0..;
        self.others
            .retain(|other| at.next() == newest || other.confirmed);
        self.keep(keypair);
    }

    /// Opens a data message under the session it is for; its length, and whether it is the first under a session
    /// that the far side began.
    pub(super) fn open(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        landing: &mut [u8],
    ) -> Result<(usize, bool), DropReason> {
        if let Some(current) = &mut self.current
            && current.local == receiver
        {
            return Ok((current.open(datagram, landing, &mut self.arrivals)?, false));
        }
        let at = self
            .others
            .iter()
            .position(|keypair| keypair.local == receiver)
            .ok_or(DropReason::NoSession)?;
        let length = self.others[at].open(datagram, landing, &mut self.arrivals)?;
        let first = !self.others[at].confirmed;
        if first {
            self.confirm(at);
        }
        Ok((length, first))
    }

    /// Nothing can be sent under any of them any more, whoever confirms them; what the far side sends is still opened.
    /// They are older by `asleep`.
    pub(super) fn forget_sending_keys(&mut self, asleep: Duration) {
        if let Some(current) = self.current.take() {
            self.keep(current);
        }
        self.others
            .retain_mut(|keypair| match keypair.created.checked_sub(asleep) {
                Some(created) => {
                    keypair.created = created;
                    keypair.forget_sending_key();
                    true
                }
                // Older than the clock can tell.
                None => false,
            });
    }

    /// For the agent that takes over.
    pub(super) fn export(&self, to: &mut Writer) {
        to.option(self.peek(), |to, current| current.export(to));
        to.u32(self.others.len() as u32);
        for keypair in &self.others {
            keypair.export(to);
        }
    }

    /// What [`Self::export`] wrote.
    pub(super) fn import(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let current = from.option(Keypair::import)?;
        let count = from.u32()?;
        if count as usize > OTHERS {
            return Err(Damaged);
        }
        let others = (0..count).map(|_| Keypair::import(from));
        Ok(Self {
            current,
            others: others.collect::<Result<_, _>>()?,
            arrivals: Arrivals::default(),
        })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether a session has this receiver index.
    pub(super) fn contains(&self, local: u32) -> bool {
        self.iter().any(|keypair| keypair.local == local)
    }

    /// When the session with this receiver index was agreed.
    pub(super) fn created(&self, local: u32) -> Option<Instant> {
        let mut keypairs = self.iter();
        let found = keypairs.find(|keypair| keypair.local == local);
        found.map(|keypair| keypair.created)
    }

    /// Ends what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.peek().is_some_and(|current| now >= current.ends()) {
            self.current = None;
        }
        self.others.retain(|keypair| now < keypair.ends());
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.iter().map(Keypair::ends).min()
    }

    fn iter(&self) -> impl Iterator<Item = &Keypair> {
        let others = self.others.iter().map(Box::as_ref);
        self.peek().into_iter().chain(others)
    }

    /// The far side has sent under it. Where both sides began one at the same time, the older may
    /// be confirmed later: each then goes on sending with the newest that it knows.
    fn confirm(&mut self, at: usize) {
        let mut keypair = self.others.remove(at);
        keypair.confirmed = true;
        let current = self.peek();
        let is_newer = current.is_none_or(|current| keypair.created >= current.created);
        if is_newer && keypair.sending.is_some() {
            self.make_current(keypair);
        } else {
            self.keep(keypair);
        }
    }

    fn make_current(&mut self, keypair: Box<Keypair>) {
        if let Some(before) = self.current.replace(keypair) {
            self.keep(before);
        }
    }

    fn keep(&mut self, keypair: Box<Keypair>) {
        if self.others.len() >= OTHERS {
            self.others.remove(0);
        }
        self.others.push(keypair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;
    use crossway_types::keys::remains;

    /// A message of the far side with any counter, which it would not send itself.
    fn message(counter: u64) -> Vec<u8> {
        let mut datagram = vec![0; 256];
        message::write_data(&mut datagram, 1, counter);
        let sealed = Key::new(&[0x62; 32]).seal(counter, &[7; 20], &mut datagram[DATA_HEADER..]);
        datagram.truncate(DATA_HEADER + sealed);
        datagram
    }

    #[test]
    fn counters_beyond_the_last_are_neither_sent_nor_taken() {
        let keys = || TransportKeys {
            sending: Zeroizing::new([0x61; 32]),
            receiving: Zeroizing::new([0x62; 32]),
        };
        let mut keypair = Keypair::new(keys(), 1, 2, true, clock::now());
        let (mut landing, mut arrivals) = ([0; 256], Arrivals::default());
        let last = REJECT_AFTER_MESSAGES - 1;
        for counter in [0, 1 << 60, last] {
            let opened = keypair.open(&message(counter), &mut landing, &mut arrivals);
            assert_eq!(opened, Ok(20));
        }
        for counter in [last + 1, last + 2, u64::MAX] {
            let taken = keypair.open(&message(counter), &mut landing, &mut arrivals);
            assert_eq!(taken, Err(DropReason::Replayed), "{counter}");
        }
        keypair.wear(last);
        assert!(keypair.seal(&[], 0, &mut landing).is_some());
        assert_eq!(keypair.seal(&[], 0, &mut landing), None);
        keypair.wear(REKEY_AFTER_MESSAGES - 1);
        assert!(!keypair.is_worn());
        keypair.wear(REKEY_AFTER_MESSAGES);
        assert!(keypair.is_worn());
    }

    #[test]
    fn of_sessions_that_wait_for_their_first_message_the_two_newest_are_kept() {
        let now = clock::now();
        let mut keypairs = Keypairs::default();
        for local in 1..=4 {
            let keys = TransportKeys {
                sending: Zeroizing::new([0x61; 32]),
                receiving: Zeroizing::new([0x62; 32]),
            };
            keypairs.add_unconfirmed(Keypair::new(keys, local, 2, false, now));
        }
        for (local, expected) in [
            (1, Err(DropReason::NoSession)),
            (2, Err(DropReason::NoSession)),
            (3, Ok((20, true))),
        ] {
            let opened = keypairs.open(local, &message(0), &mut [0; 256]);
            assert_eq!(opened, expected, "{local}");
        }
    }

    #[test]
    fn a_session_that_has_ended_leaves_no_key() {
        let make = || {
            let keys = TransportKeys {
                sending: Zeroizing::new([0x61; 32]),
                receiving: Zeroizing::new([0x62; 32]),
            };
            Keypair::new(keys, 1, 2, true, clock::now())
        };
        assert_eq!(remains::of(make(), &[0x61; 32]), (true, false));
        assert_eq!(remains::of(make(), &[0x62; 32]), (true, false));
    }
}
