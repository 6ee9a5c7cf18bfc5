//! Which counters of a session were received: a sliding window in a ring of words that is never
//! shifted (RFC 6479).

use super::arrivals::Refused;
use crossway_types::codec::{Damaged, Reader, Writer};

/// Bits in the ring, as many as in the kernel's and wireguard-go's: lanes and network cards with
/// many queues reorder by hundreds.
const BITS: u64 = 8192;
const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: u64 = BITS / WORD_BITS;
/// Counters that are told apart behind the greatest: the word under way may be new.
pub(super) const WINDOW: u64 = BITS - WORD_BITS;

/// The counters received.
#[derive(Debug)]
pub(super) struct ReplayWindow {
    /// One more than the greatest that was accepted.
    next: u64,
    words: [u64; WORDS as usize],
}

impl ReplayWindow {
    /// Nothing received.
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            words: [0; WORDS as usize],
        }
    }

    /// The counter of the next message in order.
    pub(super) fn expected(&self) -> u64 {
        self.next
    }

    /// Whether a message with this counter may be new. To be asked before it is decrypted, which
    /// costs more.
    pub(super) fn is_fresh(&self, counter: u64) -> bool {
        self.refusal(counter).is_none()
    }

    /// Why a message with this counter is not to be taken; `None` if it may be new.
    #[inline]
    pub(super) fn refusal(&self, counter: u64) -> Option<Refused> {
        if counter >= self.next {
            return None;
        }
        let (word, bit) = place(counter);
        if self.next - counter > WINDOW {
            Some(Refused::Outdated)
        } else if self.words[word] & bit != 0 {
            Some(Refused::Duplicate)
        } else {
            None
        }
    }

    /// Notes the counter of a message that is authentic; whether it was new.
    pub(super) fn accept(&mut self, counter: u64) -> bool {
        if !self.is_fresh(counter) {
            return false;
        }
        if counter >= self.next {
            self.advance(counter);
        }
        let (word, bit) = place(counter);
        self.words[word] |= bit;
        true
    }

    /// For the agent that takes over.
    pub(super) fn export(&self, to: &mut Writer) {
        to.u64(self.next);
        for word in self.words {
            to.u64(word);
        }
    }

    /// What [`Self::export`] wrote.
    pub(super) fn import(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut window = Self::new();
        window.next = from.u64()?;
        for word in &mut window.words {
            *word = from.u64()?;
        }
        Ok(window)
    }

    /// Empties the words that are entered on the way to a greater counter.
    fn advance(&mut self, counter: u64) {
        let entered = self.next.saturating_sub(1) / WORD_BITS;
        let last = counter / WORD_BITS;
        for word in (entered + 1..=last).take(WORDS as usize) {
            self.words[(word % WORDS) as usize] = 0;
        }
        self.next = counter + 1;
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

/// The word of a counter and its bit there.
fn place(counter: u64) -> (usize, u64) {
    let word = counter / WORD_BITS % WORDS;
    (word as usize, 1 << (counter % WORD_BITS))
}

#[cfg(test)]
mod tests;
