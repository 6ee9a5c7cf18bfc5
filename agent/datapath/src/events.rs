//! What the programs report as it happens.

use std::io;

use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use datapath_abi::event::{Event, EventKind};
use datapath_abi::flow::FlowKey;
use datapath_abi::maps;
use datapath_abi::outcome::DropReason;
use tokio::io::unix::AsyncFd;

use super::sys::{pod, ring};
use crossway_types::ids::SiteId;

/// Something that happened in the data path; `time_ns` counts as [`crossway_sys::clock::monotonic_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatapathEvent {
    /// A flow was entered into the table.
    NewFlow {
        /// When.
        time_ns: u64,
        /// The site at its far end.
        site: SiteId,
        /// The flow.
        key: FlowKey,
    },
    /// A packet was dropped.
    Drop {
        /// When.
        time_ns: u64,
        /// Why.
        reason: DropReason,
    },
}

/// The map EVENTS. Not every event is in it, see [`datapath_abi::event::EVENTS_PER_SECOND`].
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self> {
        let ring = ring::watch(ring).context(maps::EVENTS)?;
        Ok(Self { ring })
    }

    /// The next event, as soon as there is one. Dropping the future loses none.
    pub async fn next(&mut self) -> io::Result<DatapathEvent> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            while let Some(record) = ready.get_inner_mut().next() {
                if let Some(event) = parse(&record) {
                    return Ok(event);
                }
            }
            ready.clear_ready();
        }
    }
}

/// Reads a record; `None` for a kind or a reason that this agent does not know.
pub fn parse(record: &[u8]) -> Option<DatapathEvent> {
    let event: Event = pod::read(record)?;
    let time_ns = event.time_ns;
    if event.kind == EventKind::NewFlow as u32 {
        return Some(DatapathEvent::NewFlow {
            time_ns,
            site: SiteId(event.site),
            key: event.key,
        });
    }
    if event.kind == EventKind::Drop as u32 {
        let reason = *DropReason::ALL.get(event.reason as usize)?;
        return Some(DatapathEvent::Drop { time_ns, reason });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drop event as it lies in the ring.
    fn record(kind: u32, reason: u32) -> Vec<u8> {
        let mut record = vec![0; size_of::<Event>()];
        record[..8].copy_from_slice(&7_u64.to_ne_bytes());
        record[8..12].copy_from_slice(&kind.to_ne_bytes());
        record[16..20].copy_from_slice(&reason.to_ne_bytes());
        record
    }

    #[test]
    fn a_drop_is_read_with_its_reason() {
        let event = parse(&record(
            EventKind::Drop as u32,
            DropReason::WanBadType.index(),
        ));
        assert_eq!(
            event,
            Some(DatapathEvent::Drop {
                time_ns: 7,
                reason: DropReason::WanBadType
            })
        );
    }

    #[test]
    fn what_is_unknown_or_too_short_is_passed_over() {
        assert_eq!(parse(&record(99, 0)), None);
        assert_eq!(parse(&record(EventKind::Drop as u32, 9999)), None);
        assert_eq!(parse(&record(EventKind::Drop as u32, 0)[1..]), None);
    }
}
