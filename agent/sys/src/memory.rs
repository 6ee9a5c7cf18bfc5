//! What the allocator holds back.

/// Gives freed memory back to the system: reading a file with a million routes takes some hundred
/// MB for a moment, which the allocator would keep for ever.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer, and may be made at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
