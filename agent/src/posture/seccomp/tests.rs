use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use crossway_discovery::catalogue::Catalogue;
use crossway_discovery::scope::Scope;
use crossway_discovery::store::Store;

use super::super::sys;
use super::*;

/// Runs `attempt` on a thread with the filter.
fn confined<T: Send + 'static>(attempt: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        sys::refuse_new_privileges().unwrap();
        confine_threads(Threads::This).unwrap();
        attempt()
    });
    thread.join().unwrap()
}

fn call(number: libc::c_long, arguments: [u64; 3]) -> io::Result<()> {
    let [a, b, c] = arguments;
    // SAFETY: the tests give numbers and null pointers only, which the kernel checks.
    let result = unsafe { libc::syscall(number, a, b, c) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn errno(result: io::Result<()>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn no_program_runs_any_more() {
    let error = confined(|| Command::new("true").spawn().err());
    assert_eq!(error.unwrap().raw_os_error(), Some(libc::ENOSYS));
}

#[test]
fn what_an_intruder_would_want_is_not_there() {
    let calls = [
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_init_module,
        libc::SYS_kexec_load,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_setuid,
        libc::SYS_chroot,
        libc::SYS_reboot,
        libc::SYS_keyctl,
        libc::SYS_kill,
    ];
    let found = confined(move || calls.map(|number| errno(call(number, [0; 3]))));
    assert_eq!(found, calls.map(|_| Some(libc::ENOSYS)));
}

#[test]
fn arguments_decide_where_a_call_has_two_uses() {
    const PROG_LOAD: u64 = 5;
    const MAP_GET_FD_BY_ID: u64 = 14;
    let refused = confined(|| {
        [
            call(libc::SYS_socket, [libc::AF_ALG as u64, 0, 0]),
            call(libc::SYS_bpf, [PROG_LOAD, 0, 0]),
            call(libc::SYS_bpf, [MAP_GET_FD_BY_ID, 0, 0]),
            call(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0]),
            call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0]),
            call(
                libc::SYS_mprotect,
                [0, 4096, (libc::PROT_WRITE | libc::PROT_EXEC) as u64],
            ),
        ]
        .map(errno)
    });
    assert_eq!(refused, [Some(libc::ENOSYS); 6]);
}

/// SQLite asks for more than other files do, and what it is refused it may take for a fault of the disk.
#[test]
fn the_catalogue_of_services_is_kept_and_read_again() {
    let folder = std::env::temp_dir().join(format!("crossway-confined-{}", std::process::id()));
    let file = folder.join("services.db");
    let kept = confined(move || {
        let mut store = Store::open(&file, 0).unwrap();
        let catalogue = Catalogue::new(Scope::default(), 1);
        store.save(&catalogue.changes(), Some("a")).unwrap();
        drop(store);
        fs::write(&file, [7; 8192]).unwrap();
        let (store, _) = Store::open(&file, 1)
            .unwrap()
            .load_or_begin_anew(None, 1)
            .unwrap();
        store.set_aside().is_some()
    });
    assert!(kept);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_the_agent_does_goes_on() {
    let text = confined(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let thread = std::thread::Builder::new().name("a-name".to_owned());
        thread
            .spawn(|| drop(vec![0; 64 << 20]))
            .unwrap()
            .join()
            .unwrap();
        let names = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).unwrap();
        assert!(names.count() > 0);
        assert_eq!(
            errno(call(libc::SYS_mprotect, [0, 0, libc::PROT_READ as u64])),
            None
        );
        fs::read_to_string("/proc/self/comm").unwrap()
    });
    assert!(!text.is_empty());
}
