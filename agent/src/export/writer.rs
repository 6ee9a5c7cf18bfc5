//! The thread that writes finished flows to the file and sends them to the collector.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::file::Lines;
use super::ipfix::{Encoder, Sent};
use super::{Batch, Trouble};
use crate::config::{Collector, FlowExport};
use crate::control::message::FinishedRecord;
use crate::posture::capabilities::{Part, settle_thread};
use crossway_sys::clock;

/// Datagrams between two pauses, and the pause: a burst must not drown the collector's socket.
const BURST: usize = 64;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

pub(super) struct Writer {
    lines: Option<Lines>,
    file: String,
    sender: Option<Sender>,
    trouble: Arc<Trouble>,
}

struct Sender {
    address: SocketAddr,
    socket: Option<UdpSocket>,
    encoder: Encoder,
}

impl Writer {
    pub(super) fn new(config: &FlowExport, trouble: Arc<Trouble>) -> Self {
        Self {
            lines: config.file.clone().map(Lines::new),
            file: config
                .file
                .as_ref()
                .map(|file| file.path.display().to_string())
                .unwrap_or_default(),
            sender: config.collector.as_ref().map(Sender::new),
            trouble,
        }
    }

    /// Until the gateway ends, or is configured otherwise.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        settle_thread(Part::Export);
        while let Ok(batch) = batches.recv() {
            self.write(&batch.records);
            self.send(&batch);
        }
    }

    fn write(&mut self, records: &[FinishedRecord]) {
        let Some(lines) = self.lines.as_mut().filter(|_| !records.is_empty()) else {
            return;
        };
        let json = records.iter().filter_map(|record| {
            let mut line = serde_json::to_vec(record).ok()?;
            line.push(b'\n');
            Some(line)
        });
        let json: Vec<_> = json.collect();
        match lines.write(&json) {
            Ok(()) => self.trouble.set_file(None),
            Err((lost, error)) => {
                self.trouble.lost(lost);
                self.trouble.set_file(Some(format!(
                    "finished flows cannot be written to {}: {error}: its folder must be there, belong \
                     to the agent's user and have room; `file` of [flows] names another",
                    self.file
                )));
            }
        }
    }

    fn send(&mut self, batch: &Batch) {
        let Some(sender) = &mut self.sender else {
            return;
        };
        match sender.send(batch) {
            Ok(()) => self.trouble.set_collector(None),
            Err((lost, error)) => {
                self.trouble.lost(lost);
                self.trouble.set_collector(Some(format!(
                    "finished flows cannot be sent to {}: {error}: `collector` of [flows] names another",
                    sender.address
                )));
            }
        }
    }
}

impl Sender {
    fn new(collector: &Collector) -> Self {
        Self {
            address: collector.address,
            socket: None,
            encoder: Encoder::new(
                collector.domain,
                collector.enterprise,
                collector.template_pace,
            ),
        }
    }

    /// Sends what can be sent; how many records could not, and why.
    fn send(&mut self, batch: &Batch) -> Result<(), (usize, io::Error)> {
        let (now, since_epoch) = (clock::now(), clock::since_epoch());
        let messages = self.encoder.encode(batch, now, since_epoch);
        let mut failed: Option<(usize, io::Error)> = None;
        for (number, Sent { bytes, records }) in messages.iter().enumerate() {
            if number % BURST == BURST - 1 {
                std::thread::sleep(PAUSE);
            }
            if let Err(error) = self.send_one(bytes) {
                let (lost, _) = failed.unwrap_or((0, io::ErrorKind::Other.into()));
                failed = Some((lost + records, error));
            }
        }
        if let Some((records, _)) = &failed {
            self.encoder.on_not_sent(*records);
        }
        failed.map_or(Ok(()), Err)
    }

    fn send_one(&mut self, bytes: &[u8]) -> io::Result<()> {
        let socket = if let Some(socket) = &self.socket {
            socket
        } else {
            let any: SocketAddr = if self.address.is_ipv4() {
                (Ipv4Addr::UNSPECIFIED, 0).into()
            } else {
                (Ipv6Addr::UNSPECIFIED, 0).into()
            };
            // Not connected: a collector that is away for a while answers with errors.
            self.socket.insert(UdpSocket::bind(any)?)
        };
        socket.send_to(bytes, self.address).map(drop)
    }
}
