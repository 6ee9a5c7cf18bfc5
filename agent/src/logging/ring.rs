//! The last lines of the log, bounded in number and size. Readers take them at their own pace: one that is too slow
//! loses the oldest and is told how many.

use std::collections::VecDeque;

use crate::control::message::{LogLine, LogReply, LogRequest};

/// Lines that are kept.
pub const CAPACITY: usize = 2048;
/// Their text altogether.
const LARGEST: usize = 1 << 20;
/// Lines of one reply; the rest comes in the next.
const AT_ONCE: usize = 256;

/// The last lines, oldest first.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            next: 1,
        }
    }
}

impl Ring {
    /// Adds a line; its number. The oldest make room.
    pub fn push(&mut self, mut line: LogLine) -> u64 {
        let number = self.next;
        line.sequence = number;
        self.next += 1;
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.lines.len() > CAPACITY || self.bytes > LARGEST {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
        }
        number
    }

    /// The last lines that are wanted.
    pub fn last(&self, wanted: &LogRequest) -> LogReply {
        let matching = self.lines.iter().rev().filter(|line| matches(wanted, line));
        let count = wanted.last.unwrap_or(CAPACITY);
        let mut lines: Vec<LogLine> = matching.take(count).cloned().collect();
        lines.reverse();
        LogReply {
            lines,
            missed: 0,
            next_sequence: self.next,
        }
    }

    /// Whether any line is about the site of this name.
    pub fn has_site(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.is_about(name))
    }

    /// Those wanted from number `sequence` on, and how many are no longer kept.
    pub fn since(&self, sequence: u64, wanted: &LogRequest) -> LogReply {
        let first = self.next - self.lines.len() as u64;
        let begin = sequence.clamp(first, self.next);
        let skip = (begin - first) as usize;
        let end = (skip + AT_ONCE).min(self.lines.len());
        let lines = self.lines.range(skip..end);
        LogReply {
            lines: lines
                .filter(|line| matches(wanted, line))
                .cloned()
                .collect(),
            missed: first.saturating_sub(sequence.max(1)),
            next_sequence: first + end as u64,
        }
    }

    /// Number of the line that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }
}

fn matches(wanted: &LogRequest, line: &LogLine) -> bool {
    let site = wanted.site.as_deref();
    line.level <= wanted.level && site.is_none_or(|site| line.is_about(site))
}

fn size(line: &LogLine) -> usize {
    let fields = line.fields.iter();
    let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    line.target.len() + line.message.len() + fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::LogLevel;

    fn line(level: LogLevel, message: &str) -> LogLine {
        LogLine {
            level,
            message: message.to_owned(),
            ..LogLine::default()
        }
    }

    fn ring(lines: usize) -> Ring {
        let mut ring = Ring::default();
        for number in 1..=lines {
            ring.push(line(LogLevel::Info, &number.to_string()));
        }
        ring
    }

    fn all() -> LogRequest {
        LogRequest::default()
    }

    #[test]
    fn the_oldest_make_room_in_number_and_in_size() {
        let ring = ring(CAPACITY + 3);
        assert_eq!(ring.lines.len(), CAPACITY);
        assert_eq!(ring.last(&all()).lines[0].sequence, 4);
        let mut ring = Ring::default();
        for _ in 0..100 {
            ring.push(line(LogLevel::Info, &"x".repeat(LARGEST / 10)));
        }
        assert!(
            ring.bytes <= LARGEST && ring.lines.len() == 10,
            "{}",
            ring.bytes
        );
        assert_eq!(ring.next(), 101);
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped_and_is_told_what_it_missed() {
        let mut ring = ring(3);
        let told = ring.since(2, &all());
        assert_eq!(
            (told.lines.len(), told.missed, told.next_sequence),
            (2, 0, 4)
        );
        assert_eq!(ring.since(4, &all()).lines, []);
        for _ in 0..CAPACITY + 10 {
            ring.push(line(LogLevel::Info, "more"));
        }
        let told = ring.since(told.next_sequence, &all());
        assert_eq!(told.missed, 10);
        assert_eq!(told.lines[0].sequence, 14);
        assert_eq!(told.lines.len(), AT_ONCE);
        let mut seen = told.lines.len();
        let mut next = told.next_sequence;
        while next < ring.next() {
            let told = ring.since(next, &all());
            assert_eq!(told.missed, 0);
            seen += told.lines.len();
            next = told.next_sequence;
        }
        assert_eq!(seen, CAPACITY);
        assert_eq!(ring.since(u64::MAX, &all()).lines, []);
    }

    #[test]
    fn levels_and_sites_are_chosen() {
        let mut ring = Ring::default();
        ring.push(line(LogLevel::Debug, "a"));
        let mut of_paris = line(LogLevel::Warn, "b");
        of_paris
            .fields
            .insert("subject".into(), "paris/paris-1".into());
        ring.push(of_paris);
        let chosen = |request: LogRequest| {
            let of_last = ring.last(&request).lines;
            assert_eq!(of_last, ring.since(1, &request).lines);
            of_last
                .iter()
                .map(|line| line.message.clone())
                .collect::<String>()
        };
        let level = |level| LogRequest { level, ..all() };
        assert_eq!(chosen(all()), "ab");
        assert_eq!(chosen(level(LogLevel::Info)), "b");
        assert_eq!(chosen(level(LogLevel::Error)), "");
        let site = |site: &str| LogRequest {
            site: Some(site.to_owned()),
            ..all()
        };
        assert_eq!(chosen(site("paris")), "b");
        assert_eq!(chosen(site("rome")), "");
        assert_eq!(
            ring.last(&LogRequest {
                last: Some(1),
                ..all()
            })
            .lines[0]
                .message,
            "b"
        );
    }
}
