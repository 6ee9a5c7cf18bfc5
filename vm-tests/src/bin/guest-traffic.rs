//! Both ends of checked traffic for hosts that are guests; in namespaces the tests are both ends themselves.
//!
//! ```text
//!   guest-traffic serve PORT                  takes TCP connections one after another, until it is killed
//!   guest-traffic send ADDRESS PORT BYTES     sends so much at once
//!   guest-traffic send ADDRESS PORT FILE      sends slowly until the file is there
//! ```
//! Each writes lines of JSON: [`Taken`] and [`Sent`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use vm_tests::guest::traffic::{Sent, Taken};
use vm_tests::{traffic, wait};

/// A connection outlives a gateway that is switched off and on again, which takes minutes where it is emulated.
const STALL_LIMIT: Duration = Duration::from_mins(5);
/// A connection request: the first handshake of a tunnel and an emulated processor may be before it.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
const CHUNK: u64 = 64 * 1024;
/// One write of slow traffic, and the pause after it.
const SLOW_WRITE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", port] => serve(port.parse()?),
        ["send", address, port, amount] => {
            let to = SocketAddr::new(address.parse()?, port.parse()?);
            send(to, amount)
        }
        _ => bail!(
            "guest-traffic takes: serve PORT | send ADDRESS PORT BYTES | send ADDRESS PORT FILE"
        ),
    }
}

fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    loop {
        let (stream, peer) = listener.accept()?;
        let mut bytes = 0;
        let received = traffic::take(stream, peer, STALL_LIMIT, |length| bytes += length as u64);
        let source: IpAddr = peer.ip().to_canonical();
        let error = received.err().map(|error| format!("{error:#}"));
        say(&Taken {
            source,
            bytes,
            error,
        })?;
    }
}

fn send(to: SocketAddr, amount: &str) -> Result<()> {
    let stream = TcpStream::connect_timeout(&to, CONNECT_LIMIT).context("cannot connect")?;
    let client = stream.local_addr()?;
    let mut bytes = 0;
    let delivered = if let Ok(amount) = amount.parse::<u64>() {
        let mut left = amount;
        traffic::deliver(stream, STALL_LIMIT, || {
            let part = left.min(CHUNK);
            left -= part;
            bytes += part;
            (part > 0).then_some(part as usize)
        })
    } else {
        let stop = Path::new(amount);
        traffic::deliver(stream, STALL_LIMIT, || {
            wait::pace(PAUSE);
            if stop.exists() {
                return None;
            }
            bytes += SLOW_WRITE as u64;
            Some(SLOW_WRITE)
        })
    };
    let segments = delivered?.segments;
    say(&Sent {
        client,
        bytes,
        segments,
    })
}

fn say(line: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}
