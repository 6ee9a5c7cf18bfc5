//! How much the scheduler favours the calling thread during a hand-over: little while the next agent prepares
//! itself beside the lanes that carry traffic, much while nothing is carried.

use std::io;

/// Nice value (setpriority(2)) of the preparation.
const PATIENT: libc::c_int = 10;
/// Nice value of what traffic waits for.
const URGENT: libc::c_int = -15;

/// Another priority, until this is dropped. Without the right to have it (CAP_SYS_NICE) nothing changes.
#[derive(Debug)]
pub struct Priority {
    before: libc::c_int,
}

impl Priority {
    /// Lets everybody else go first.
    pub fn patient() -> Option<Self> {
        let priority = Self::of_thread();
        // Who may not raise itself would stay behind for ever.
        set(priority.before - 1).ok()?;
        set(PATIENT.max(priority.before)).ok()?;
        Some(priority)
    }

    /// Goes before everybody else. Threads that are started meanwhile would, too.
    pub fn urgent() -> Option<Self> {
        let priority = Self::of_thread();
        set(URGENT.min(priority.before)).ok()?;
        Some(priority)
    }

    fn of_thread() -> Self {
        // SAFETY: the call takes no pointer. It cannot fail for the calling thread.
        let before = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        Self { before }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // It was allowed a moment ago.
        let _ = set(self.before);
    }
}

/// On Linux a nice value is a thread's own.
fn set(nice: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_is_as_before_afterwards() {
        let before = Priority::of_thread().before;
        for other in [Priority::patient, Priority::urgent] {
            let changed = other();
            let now = Priority::of_thread().before;
            assert_eq!(changed.is_some(), now != before);
            drop(changed);
            assert_eq!(Priority::of_thread().before, before);
        }
    }
}
