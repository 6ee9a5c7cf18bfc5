//! What runs on a lane's thread for each inner packet allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;

use crossway_liveness::echo::{Echo, LONGEST};

/// The system's allocator, which counts what each thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's, with what the caller vouches for; the count is a plain
// number that needs no memory itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|asked| asked.set(asked.get() + 1));
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches; `at` came from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(of: impl FnOnce()) -> usize {
    let before = ASKED.get();
    of();
    ASKED.get() - before
}

#[test]
fn asking_for_an_echo_and_judging_packets_allocates_nothing() {
    assert_eq!(allocations(|| drop(vec![1])), 1, "the count works");
    for (source, target) in [
        ("10.255.0.1", "10.2.0.10"),
        ("2001:db8:1::1", "2001:db8:2::10"),
    ] {
        let (source, target): (IpAddr, IpAddr) = (source.parse().unwrap(), target.parse().unwrap());
        let now = crossway_sys::clock::now();
        let mut echo = Echo::new(source, target, 7, now);
        // What it writes as the target is the reply but for the type.
        let mut far_end = Echo::new(target, source, 7, now);
        let (mut request, mut reply) = ([0; LONGEST], [0; LONGEST]);
        let length = far_end.poll_transmit(now, &mut reply).unwrap();
        let (header, kind) = if source.is_ipv4() { (20, 0) } else { (40, 129) };
        let none = allocations(|| {
            let _ = echo.poll_transmit(now, &mut request);
            assert!(!echo.handle_packet(&reply[..length]), "a request");
            reply[header] = kind;
            assert!(echo.handle_packet(&reply[..length]));
        });
        assert_eq!(none, 0, "{target}");
    }
}
