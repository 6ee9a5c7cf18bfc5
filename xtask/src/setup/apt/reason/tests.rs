use super::*;

type Seen = (&'static str, fn() -> Reason);

/// What apt 2.6 of Debian 12 prints, shortened, and what it means.
#[rustfmt::skip]
const SEEN: &[Seen] = &[
    ("Err:1 http://archive.example/debian bookworm/main amd64 sl amd64 5.02-1+b1\n  404  Not Found [IP: 203.0.113.80 80]\n\
      E: Failed to fetch http://archive.example/debian/pool/main/s/sl/sl_5.02-0%2bb9_amd64.deb  404  Not Found [IP: 203.0.113.80 80]\n\
      E: Some files failed to download\n", || Reason::Gone),
    ("Ign:1 http://archive.example/debian bookworm InRelease\nErr:1 http://archive.example/debian bookworm InRelease\n  \
      Temporary failure resolving 'archive.example'\nReading package lists...\n\
      E: Failed to fetch http://archive.example/debian/dists/bookworm/InRelease  Temporary failure resolving 'archive.example'\n\
      E: Some index files failed to download. They have been ignored, or old ones used instead.\n",
      || Reason::Unreachable("archive.example".to_owned())),
    ("Reading state information...\nE: Unable to locate package rustc-web\n", || Reason::Unknown("rustc-web".to_owned())),
    ("E: Package 'gcc-doc' has no installation candidate\n", || Reason::Unknown("gcc-doc".to_owned())),
    ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 26546 (unattended-upgr)\n\
      E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n",
      || Reason::Locked(Some("unattended-upgr".to_owned()))),
    ("Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 26546 (apt-get)...\n\
      E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n",
      || Reason::Locked(Some("apt-get".to_owned()))),
    ("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 26546 (apt-get)\n\
      E: Unable to lock directory /var/lib/apt/lists/\n", || Reason::Locked(Some("apt-get".to_owned()))),
    ("E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n\
      E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n", || Reason::NotRoot),
    ("sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure \
      an askpass helper\nsudo: a password is required\n", || Reason::NotRoot),
    ("E: You don't have enough free space in /var/cache/apt/archives/.\n", || Reason::NoSpace),
    ("dpkg: error processing archive (--unpack):\n cannot copy extracted data: failed to write (No space left on device)\n",
      || Reason::NoSpace),
    ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. \n", || Reason::Interrupted),
    ("E: Release file for http://archive.example/debian/dists/bookworm-updates/InRelease is not valid yet (invalid for another 3d \
      2h 1min 5s). Updates for this repository will not be applied.\n", || Reason::Clock),
    ("The following packages have unmet dependencies:\n frr : Depends: libyang2 but it is not installable\n\
      E: Unable to correct problems, you have held broken packages.\n", || Reason::Conflict),
    ("W: GPG error: http://archive.example/debian bookworm InRelease: The following signatures couldn't be verified because the \
      public key is not available: NO_PUBKEY 0E98404D386FA1D9\nE: The repository is not signed.\n", || Reason::Signature),
    ("E: Sub-process /usr/bin/dpkg returned an error code (1)\n", || Reason::Other),
];

#[test]
fn what_apt_prints_is_understood() {
    for (text, expected) in SEEN {
        assert_eq!(Reason::of(text), expected(), "{text}");
    }
}

#[test]
fn new_lists_are_tried_where_they_may_help_and_not_where_they_cannot() {
    assert!(Reason::Gone.is_of_lists() && Reason::Unknown("frr".to_owned()).is_of_lists());
    let others = [Reason::NoSpace, Reason::NotRoot, Reason::Locked(None)];
    assert!(others.iter().all(|reason| !reason.is_of_lists()));
}

#[test]
fn every_reason_has_a_mend() {
    for (_, reason) in SEEN {
        let mend = reason().mend("/etc/apt");
        assert!(mend.len() > 10, "{mend}");
    }
}
