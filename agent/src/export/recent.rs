//! The last finished flows, for who asks or follows. As the journal: the loop alone records, readers take what is there
//! at their own pace, and are told how many they missed.

use std::collections::VecDeque;

use crate::control::message::{FinishedRecord, FinishedReply};

/// Records that are kept, some 3 MB.
pub const CAPACITY: usize = 8192;
/// Records of one answer: a megabyte and a half of JSON.
const MOST_TOLD: usize = 4096;

/// The last records, oldest first.
#[derive(Debug)]
pub struct Recent {
    records: VecDeque<FinishedRecord>,
    /// Number of the record that comes next; the first is 1.
    next: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            next: 1,
        }
    }
}

impl Recent {
    /// Takes more; the oldest make room.
    pub fn extend(&mut self, records: &[FinishedRecord]) {
        self.next += records.len() as u64;
        let newest = records.len().min(CAPACITY);
        let kept = CAPACITY - newest;
        while self.records.len() > kept {
            self.records.pop_front();
        }
        let (_, newest) = records.split_at(records.len() - newest);
        self.records.extend(newest.iter().cloned());
    }

    /// The last `count` records, at most as many as one answer takes.
    pub fn last(&self, count: Option<usize>) -> FinishedReply {
        let wanted = count.unwrap_or(MOST_TOLD).min(MOST_TOLD);
        let skipped = self.records.len().saturating_sub(wanted);
        FinishedReply {
            records: self.records.range(skipped..).cloned().collect(),
            missed: 0,
            next_sequence: self.next,
        }
    }

    /// Whether any is of the site of this name.
    pub fn has_site(&self, name: &str) -> bool {
        let mut records = self.records.iter();
        records.any(|record| matches!(record, FinishedRecord::Flow(flow) if flow.site == name))
    }

    /// The records from number `sequence` on, as many as one answer takes.
    pub fn since(&self, sequence: u64) -> FinishedReply {
        let first = self.next - self.records.len() as u64;
        let sequence = sequence.clamp(1, self.next);
        let start = sequence.max(first);
        let skipped = (start - first) as usize;
        let records: Vec<_> = self
            .records
            .range(skipped..)
            .take(MOST_TOLD)
            .cloned()
            .collect();
        FinishedReply {
            missed: start - sequence,
            next_sequence: start + records.len() as u64,
            records,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::EvictedFlows;

    fn records(numbers: std::ops::RangeInclusive<u64>) -> Vec<FinishedRecord> {
        let record = |flows| {
            FinishedRecord::Evicted(EvictedFlows {
                flows,
                ..EvictedFlows::default()
            })
        };
        numbers.map(record).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped_and_is_told_what_it_missed() {
        let mut recent = Recent::default();
        assert_eq!(recent.since(1), recent.last(None));
        recent.extend(&records(1..=3));
        assert_eq!(recent.since(2).records, records(2..=3));
        assert_eq!(recent.last(Some(1)).records, records(3..=3));
        assert_eq!(recent.since(4), recent.since(99));
        let many = CAPACITY as u64 + 10;
        recent.extend(&records(4..=many));
        let reply = recent.since(4);
        assert_eq!((reply.missed, reply.records.len()), (7, MOST_TOLD));
        assert_eq!(reply.records[..2], records(11..=12));
        let more = recent.since(reply.next_sequence);
        assert_eq!((more.missed, more.records.len()), (0, CAPACITY - MOST_TOLD));
        assert_eq!(more.next_sequence, many + 1);
        assert_eq!(recent.since(more.next_sequence).records, []);
    }
}
