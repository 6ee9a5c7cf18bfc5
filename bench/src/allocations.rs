//! Counts what each thread allocates, to prove that the fast path does not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count.
pub(crate) struct Counting;

/// Allocations of this thread so far; growing counts, freeing does not.
pub(crate) fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn add_one() {
    // A thread that is ending may allocate after its locals are gone: nobody measures it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; the count is a plain cell of the thread,
// which neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_counted_and_work_without_is_not() {
        let before = count();
        let mut bytes = Vec::<u8>::with_capacity(8);
        assert_eq!(count() - before, 1);
        bytes.push(1);
        assert_eq!(count() - before, 1);
        bytes.reserve(1000);
        assert_eq!(count() - before, 2);
    }
}
