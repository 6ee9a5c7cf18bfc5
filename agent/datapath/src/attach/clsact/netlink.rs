//! The two rtnetlink requests about qdiscs that aya has no function for.

use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// From linux/rtnetlink.h and linux/netlink.h.
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;

/// From linux/pkt_sched.h: handle and parent of clsact, and its two sides as parents of filters.
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const SIDES: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

/// Bytes of `struct nlmsghdr`, and of it with `struct tcmsg`.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 20;

/// Deletes the clsact qdisc of the interface `index`; it may be gone already.
pub(super) fn delete_clsact(index: u32) -> io::Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let request = request(RTM_DELQDISC, flags, index, CLSACT_HANDLE, CLSACT_PARENT);
    match exchange(&request, |_, _| ()) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
        result => result,
    }
}

/// Whether any filter is left in the clsact qdisc of the interface `index`.
pub(super) fn has_filters(index: u32) -> io::Result<bool> {
    let mut found = false;
    for side in SIDES {
        for_each_filter(index, side, |_, _| found = true)?;
    }
    Ok(found)
}

/// Whether each side of the clsact qdisc of the interface `index`, ingress and egress, has a filter of this priority and
/// handle.
pub(super) fn sides_with(index: u32, priority: u16, handle: u32) -> io::Result<[bool; 2]> {
    let mut found = [false; 2];
    for (found, side) in found.iter_mut().zip(SIDES) {
        for_each_filter(index, side, |its_priority, its_handle| {
            *found |= its_priority == priority && its_handle == handle;
        })?;
    }
    Ok(found)
}

/// Shows priority and handle of each filter.
fn for_each_filter(index: u32, side: u32, mut visit: impl FnMut(u16, u32)) -> io::Result<()> {
    let request = request(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, index, 0, side);
    exchange(&request, |kind, body| {
        let word = |at: usize| {
            body.get(at..)?
                .first_chunk()
                .copied()
                .map(u32::from_ne_bytes)
        };
        // `struct tcmsg`: the handle, and the priority in the upper half of the last word.
        if kind == RTM_NEWTFILTER
            && let (Some(handle), Some(info)) = (word(8), word(16))
        {
            visit((info >> 16) as u16, handle);
        }
    })
}

fn request(kind: u16, flags: u16, index: u32, handle: u32, parent: u32) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[20..24].copy_from_slice(&index.to_ne_bytes());
    request[24..28].copy_from_slice(&handle.to_ne_bytes());
    request[28..32].copy_from_slice(&parent.to_ne_bytes());
    request
}

/// Sends the request and shows kind and body of each message of the answer, up to its end.
fn exchange(request: &[u8], mut on_message: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while let Some((kind, body)) = next_message(&mut rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return error_of(body),
                kind => on_message(kind, body),
            }
        }
    }
}

/// Takes one message off the front: its kind and what follows its header.
pub fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    let message = rest.get(..length)?;
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let body = message.get(HEADER..)?;
    // Messages start at multiples of four bytes.
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

pub fn error_of(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_walked_to_the_end_and_a_short_one_ends_the_walk() {
        let first = request(RTM_NEWTFILTER, 0, 7, 0, 0);
        let mut answer = first.to_vec();
        answer.extend([20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9]);
        answer.extend([99, 0, 0, 0]);
        let mut rest = answer.as_slice();
        assert_eq!(next_message(&mut rest).unwrap().0, RTM_NEWTFILTER);
        assert_eq!(next_message(&mut rest), Some((NLMSG_DONE, &[9; 4][..])));
        assert_eq!(next_message(&mut rest), None);
        for code in [-2, 2, i32::MIN] {
            assert!(error_of(&code.to_ne_bytes()).is_err(), "{code}");
        }
    }
}
