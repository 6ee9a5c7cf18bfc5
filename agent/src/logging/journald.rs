//! The journal of systemd, in its native protocol: each line with its fields, so that
//! `journalctl CROSSWAY_SUBJECT=paris` finds what is about a site.
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use nix::sys::stat::fstat;

use crate::control::message::{LogLevel, LogLine};

const SOCKET: &str = "/run/systemd/journal/socket";
/// Environment variable with device and inode of the stream that a service's output is (systemd.exec(5)).
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";
const IDENTIFIER: &str = "crossway";
/// What the journal takes of a field's name.
const LONGEST_NAME: usize = 64;

/// A socket to the journal.
#[derive(Debug)]
pub(super) struct Journald(UnixDatagram);

/// Whether what is written to standard error goes to the journal.
pub(super) fn takes_stderr() -> bool {
    let Ok(stream) = std::env::var(STREAM_VARIABLE) else {
        return false;
    };
    let Ok(found) = fstat(io::stderr().as_fd()) else {
        return false;
    };
    stream == format!("{}:{}", found.st_dev, found.st_ino)
}

impl Journald {
    pub(super) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        // A journal that hangs must not stop a gateway.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// What it does not take is lost to it, and still in the ring.
    pub(super) fn write(&self, line: &LogLine) {
        let _ = self.0.send(&datagram(line));
    }
}

fn datagram(line: &LogLine) -> Vec<u8> {
    let mut bytes = Vec::new();
    // In words as well: `journalctl` shows nothing else of its own accord.
    field(&mut bytes, "MESSAGE", &line.to_string());
    field(&mut bytes, "PRIORITY", priority(line.level));
    field(&mut bytes, "SYSLOG_IDENTIFIER", IDENTIFIER);
    field(&mut bytes, "CROSSWAY_TARGET", &line.target);
    for (name, value) in &line.fields {
        field(&mut bytes, &name_of(name), value);
    }
    bytes
}

/// As syslog(3) numbers them.
fn priority(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "3",
        LogLevel::Warn => "4",
        LogLevel::Info => "6",
        LogLevel::Debug | LogLevel::Trace => "7",
    }
}

/// Upper-case letters, digits and underscores.
fn name_of(field: &str) -> String {
    let name: String = format!("CROSSWAY_{field}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    name.chars().take(LONGEST_NAME).collect()
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_with_its_fields_and_one_with_breaks_by_its_length() {
        let line = LogLine {
            level: LogLevel::Warn,
            target: "crossway::gateway".to_owned(),
            message: "event".to_owned(),
            fields: [("cause", "a\nb"), ("subject", "paris")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..LogLine::default()
        };
        let expected = b"MESSAGE=event cause=\"a\\nb\" subject=paris\nPRIORITY=4\nSYSLOG_IDENTIFIER=crossway\n\
            CROSSWAY_TARGET=crossway::gateway\nCROSSWAY_CAUSE\n\x03\0\0\0\0\0\0\0a\nb\nCROSSWAY_SUBJECT=paris\n";
        assert_eq!(
            String::from_utf8_lossy(&datagram(&line)),
            String::from_utf8_lossy(expected)
        );
    }

    #[test]
    fn a_name_is_what_the_journal_takes() {
        assert_eq!(name_of("gap_us"), "CROSSWAY_GAP_US");
        assert_eq!(name_of("log.file"), "CROSSWAY_LOG_FILE");
        assert_eq!(name_of(&"x".repeat(100)).len(), LONGEST_NAME);
    }
}
