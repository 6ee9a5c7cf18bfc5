//! A netlink socket for routes by the hundred thousand: many requests in one system call and no
//! acknowledgement but the last one's, where a request at a time takes a round trip each.
//!
//! It blocks, so its calls belong on a thread where that is allowed.

use std::io;

use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Requests in one system call. The answers, should each be an error, must fit into the socket's
/// buffer: an answer takes a little over 1 KiB of it.
const REQUESTS_AT_ONCE: usize = 256;
/// Bytes of receive buffer asked for; the kernel gives twice the lesser of this and `net.core.rmem_max`,
/// which is 208 KiB where nobody has set it.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The kernel fills at most this much with one answer to a dump.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Netlink messages start at multiples of this (NLMSG_ALIGNTO).
const ALIGNMENT: usize = 4;

/// The socket. It belongs to the network namespace of the thread that opened it.
pub struct RouteSocket {
    socket: Socket,
    port: u32,
    requests: Vec<u8>,
    answers: Vec<u8>,
}

/// A request to change the kernel's routes.
pub struct RouteRequest {
    /// `NewRoute` or `DelRoute`.
    pub message: RouteNetlinkMessage,
    /// `NLM_F_*` beside those of every request.
    pub flags: u16,
}

impl RouteSocket {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX))?;
        // An error without the request that it is about, which its number tells.
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            port,
            requests: Vec::new(),
            answers: Vec::with_capacity(LONGEST_ANSWER),
        })
    }

    /// What the kernel puts as the sender into its notes on changes made here.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Carries out `requests` in their order, going on behind those that fail; `failed` gets the
    /// position of each of these with the kernel's answer.
    pub fn change(
        &mut self,
        requests: impl IntoIterator<Item = RouteRequest>,
        mut failed: impl FnMut(usize, &ErrorMessage),
    ) -> io::Result<()> {
        let mut requests = requests.into_iter();
        let mut done = 0;
        loop {
            let batch: Vec<_> = requests.by_ref().take(REQUESTS_AT_ONCE).collect();
            let Some(last) = batch.len().checked_sub(1) else {
                return Ok(());
            };
            self.requests.clear();
            for (number, request) in batch.into_iter().enumerate() {
                let acknowledge = if number == last { NLM_F_ACK } else { 0 };
                self.push(number as u32, request.flags | acknowledge, request.message);
            }
            self.socket.send(&self.requests, 0)?;
            self.take_answers(last as u32, |number, error| {
                failed(done + number as usize, error);
            })?;
            done += last + 1;
        }
    }

    /// Shows `visit` every route that answers `request`, a message with the family.
    pub fn dump(
        &mut self,
        request: RouteMessage,
        mut visit: impl FnMut(&RouteMessage),
    ) -> io::Result<()> {
        self.requests.clear();
        self.push(0, NLM_F_DUMP, RouteNetlinkMessage::GetRoute(request));
        self.socket.send(&self.requests, 0)?;
        loop {
            for message in self.receive()? {
                match message?.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                        visit(&route);
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The kernel's choice for the addresses in `request`; `None` if it has none: no route, or the source is no address
    /// of this host.
    pub fn ask(&mut self, request: RouteMessage) -> io::Result<Option<RouteMessage>> {
        self.decide(request).map(Result::ok)
    }

    /// The kernel's choice for the packet in `request`, or the error number with which it refuses it.
    pub fn decide(&mut self, request: RouteMessage) -> io::Result<Result<RouteMessage, i32>> {
        self.requests.clear();
        self.push(0, 0, RouteNetlinkMessage::GetRoute(request));
        self.socket.send(&self.requests, 0)?;
        loop {
            for message in self.receive()? {
                match message?.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                        return Ok(Ok(route));
                    }
                    NetlinkPayload::Error(error) => {
                        return Ok(Err(error.to_io().raw_os_error().unwrap_or(0)));
                    }
                    _ => {}
                }
            }
        }
    }

    fn push(&mut self, number: u32, flags: u16, message: RouteNetlinkMessage) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = number;
        message.finalize();
        let start = self.requests.len();
        let end = start + message.buffer_len();
        self.requests.resize(end.next_multiple_of(ALIGNMENT), 0);
        message.serialize(&mut self.requests[start..end]);
    }

    /// Reads until request `last` is answered; the others are answered only if they failed.
    fn take_answers(
        &mut self,
        last: u32,
        mut failed: impl FnMut(u32, &ErrorMessage),
    ) -> io::Result<()> {
        loop {
            for message in self.receive()? {
                let message = message?;
                let number = message.header.sequence_number;
                if let NetlinkPayload::Error(error) = &message.payload {
                    if error.code.is_some() {
                        failed(number, error);
                    }
                    if number == last {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The messages of one answer.
    fn receive(&mut self) -> io::Result<impl Iterator<Item = io::Result<Message>>> {
        self.answers.clear();
        self.socket.recv(&mut self.answers, 0)?;
        let mut rest = &self.answers[..];
        Ok(std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let message = match Message::deserialize(rest) {
                Ok(message) => message,
                Err(error) => {
                    rest = &[];
                    return Some(Err(io::Error::other(error)));
                }
            };
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            rest = rest.get(length..).unwrap_or_default();
            Some(Ok(message))
        }))
    }
}

type Message = NetlinkMessage<RouteNetlinkMessage>;
