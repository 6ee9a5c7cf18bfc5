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

    fn nice() -> libc::c_int {
        Priority::of_thread().before
    }

    /// Whether this thread may raise itself.
    fn may_raise() -> bool {
        let before = nice();
        let may = set(before - 1).is_ok() && nice() == before - 1;
        set(before).unwrap();
        may
    }

    #[test]
    fn the_priority_is_another_meanwhile_and_as_before_afterwards() {
        let before = nice();
        if !may_raise() {
            return;
        }
        let patient = Priority::patient().unwrap();
        assert_eq!(nice(), PATIENT.max(before));
        drop(patient);
        assert_eq!(nice(), before);
        let urgent = Priority::urgent().unwrap();
        assert_eq!(nice(), URGENT.min(before));
        drop(urgent);
        assert_eq!(nice(), before);
    }

    /// It could not come back.
    #[test]
    fn without_the_right_to_raise_itself_a_thread_stays_as_it_is() {
        let other = std::thread::spawn(|| {
            let nice_right = caps::Capability::CAP_SYS_NICE;
            if caps::has_cap(None, caps::CapSet::Effective, nice_right).unwrap() {
                caps::drop(None, caps::CapSet::Effective, nice_right).unwrap();
            }
            let before = nice();
            if may_raise() {
                // By its limit (RLIMIT_NICE).
                return;
            }
            for change in [Priority::patient, Priority::urgent] {
                assert!(change().is_none());
                assert_eq!(nice(), before);
            }
        });
        other.join().unwrap();
    }
}
