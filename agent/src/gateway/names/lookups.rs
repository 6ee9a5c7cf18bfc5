//! The threads in which names are looked up: a few, whatever the number of names. The host's resolver is asked
//! (getaddrinfo, with all that nsswitch.conf says), which may take half a minute for one name when no name server
//! answers. Nobody waits for these threads, not even the end of the process.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Answer, Question};
use crate::posture::capabilities::{Part, settle_thread};

/// Threads at most.
pub const MOST_THREADS: usize = 8;
/// Of these, as many are left to names that were answered the last time: names of a dead name server must not
/// keep those of a living one waiting.
const FOR_ANSWERED: usize = 2;
/// A thread that has had nothing to do for so long ends.
const IDLES_FOR: Duration = Duration::from_secs(10);

/// Asks for one name.
type Resolver = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Looks names up.
#[derive(Debug)]
pub struct Lookups {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    resolver: Resolver,
    answers: mpsc::UnboundedSender<Answer>,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    usual: VecDeque<String>,
    doubtful: VecDeque<String>,
    doubtful_under_way: usize,
    threads: usize,
    idle: usize,
    /// Nobody wants answers any more.
    over: bool,
}

/// A name, and whether it is a doubtful one.
type Job = (String, bool);

impl Lookups {
    /// No threads yet. Answers come out of the other end of `answers`.
    pub fn new(answers: mpsc::UnboundedSender<Answer>) -> Self {
        Self::with(ask_host, answers)
    }

    fn with(resolver: Resolver, answers: mpsc::UnboundedSender<Answer>) -> Self {
        Self {
            shared: Arc::new(Shared {
                resolver,
                answers,
                work: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// Looks a name up as soon as a thread is free.
    pub fn ask(&self, question: Question) {
        let mut work = self.shared.work();
        let queue = if question.doubtful {
            &mut work.doubtful
        } else {
            &mut work.usual
        };
        queue.push_back(question.host);
        let waiting = work.usual.len() + work.doubtful.len();
        if work.idle < waiting && work.threads < MOST_THREADS {
            self.start_thread(&mut work);
        }
        drop(work);
        self.shared.changed.notify_one();
    }

    /// Without a thread nothing is looked up; that of the next question may start.
    fn start_thread(&self, work: &mut Work) {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            settle_thread(Part::Names);
            shared.run();
        };
        match thread::Builder::new().name("names".to_owned()).spawn(run) {
            Ok(_) => work.threads += 1,
            Err(error) if work.threads == 0 => {
                let hosts: Vec<String> = work
                    .usual
                    .drain(..)
                    .chain(work.doubtful.drain(..))
                    .collect();
                for host in hosts {
                    let addresses = Err(format!("no thread could be started: {error}"));
                    let _ = self.shared.answers.send(Answer { host, addresses });
                }
            }
            // The others get to it.
            Err(_) => {}
        }
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.shared.work().over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Nothing in here panics while it holds the lock.
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some((host, doubtful)) = self.next() {
            let addresses = (self.resolver)(&host).map_err(|error| error.to_string());
            if doubtful {
                self.work().doubtful_under_way -= 1;
                // Its place is free.
                self.changed.notify_one();
            }
            if self.answers.send(Answer { host, addresses }).is_err() {
                break;
            }
        }
        self.work().threads -= 1;
    }

    /// Waits for a name; `None` if there is none for long.
    fn next(&self) -> Option<Job> {
        let mut work = self.work();
        loop {
            if work.over {
                return None;
            }
            if let Some(job) = work.take() {
                return Some(job);
            }
            work.idle += 1;
            let waited = self.changed.wait_timeout(work, IDLES_FOR);
            let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            work = again;
            work.idle -= 1;
            if waited.timed_out() && work.usual.is_empty() && work.doubtful.is_empty() {
                return None;
            }
        }
    }
}

impl Work {
    fn take(&mut self) -> Option<Job> {
        if let Some(host) = self.usual.pop_front() {
            return Some((host, false));
        }
        if self.doubtful_under_way >= MOST_THREADS - FOR_ANSWERED {
            return None;
        }
        let host = self.doubtful.pop_front()?;
        self.doubtful_under_way += 1;
        Some((host, true))
    }
}

/// All addresses of a name, of all families, as the host's resolver sorts them (RFC 6724).
fn ask_host(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn question(host: impl Into<String>, doubtful: bool) -> Question {
        let host = host.into();
        Question { host, doubtful }
    }

    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    static MOST_AT_ONCE: AtomicUsize = AtomicUsize::new(0);

    fn counted(_: &str) -> io::Result<Vec<SocketAddr>> {
        let now = AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1;
        MOST_AT_ONCE.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
        AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        Err(io::Error::other("no"))
    }

    #[test]
    fn a_thousand_names_are_looked_up_by_a_few_threads() {
        let (sender, mut answers) = mpsc::unbounded_channel();
        let lookups = Lookups::with(counted, sender);
        let hosts: BTreeSet<String> = (0..1000).map(|at| format!("{at}.example")).collect();
        for host in &hosts {
            lookups.ask(question(host.as_str(), host.ends_with("5.example")));
        }
        let answered = hosts.iter().map(|_| answers.blocking_recv().unwrap().host);
        assert_eq!(answered.collect::<BTreeSet<_>>(), hosts);
        let most = MOST_AT_ONCE.load(Ordering::SeqCst);
        assert!((2..=MOST_THREADS).contains(&most), "{most}");
    }

    #[test]
    fn names_that_nobody_answers_leave_threads_to_the_others() {
        fn hangs_on_dead_ones(host: &str) -> io::Result<Vec<SocketAddr>> {
            while host.starts_with("dead") {
                thread::park();
            }
            ask_host("192.0.2.1")
        }
        let (sender, mut answers) = mpsc::unbounded_channel();
        let lookups = Lookups::with(hangs_on_dead_ones, sender);
        for at in 0..100 {
            lookups.ask(question(format!("dead-{at}.example"), true));
        }
        lookups.ask(question("alive.example", false));
        let answer = answers.blocking_recv().unwrap();
        assert_eq!(answer.host, "alive.example");
        // Nobody waits for the threads that hang.
        drop(lookups);
    }

    #[test]
    fn the_hosts_resolver_gives_every_address() {
        let found = ask_host("192.0.2.7").unwrap();
        assert_eq!(found, ["192.0.2.7:0".parse().unwrap()]);
        assert!(!ask_host("localhost").unwrap().is_empty());
    }
}
