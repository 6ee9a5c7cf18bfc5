//! Who may use a control socket: the agent's own user and the members of one group, by the mode of the
//! socket's file. They may ask and order alike; each order is logged with who gave it.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

/// The group that is admitted where the configuration names none, if it exists.
const DEFAULT_GROUP: &str = "crossway";

/// Who asks, as the kernel tells it (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// User id.
    pub uid: u32,
    /// Process id, if the process is in sight.
    pub pid: Option<i32>,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, ", pid {pid}"),
            None => Ok(()),
        }
    }
}

/// The id of the group to admit: `wanted`, or without it the default one if there is such a group.
///
/// # Errors
/// There is no group `wanted`, or the system's list of groups cannot be read.
pub fn group(wanted: Option<&str>) -> io::Result<Option<u32>> {
    let found = Group::from_name(wanted.unwrap_or(DEFAULT_GROUP));
    match (found, wanted) {
        (Ok(Some(group)), _) => Ok(Some(group.gid.as_raw())),
        (Ok(None) | Err(_), None) => Ok(None),
        (Ok(None), Some(name)) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no group {name}: groupadd --system {name}"),
        )),
        (Err(error), Some(_)) => Err(error.into()),
    }
}

/// What somebody can do who may not open `socket`.
pub(super) fn mend(socket: &Path) -> String {
    let own = Uid::effective();
    let user = User::from_uid(own).ok().flatten();
    let user = user.map_or_else(|| own.to_string(), |user| user.name);
    let Some(gid) = socket.metadata().ok().map(|found| found.gid()) else {
        return "run it as root (sudo)".to_owned();
    };
    if gid == 0 {
        return format!(
            "run it as root (sudo), or admit a group: groupadd --system {DEFAULT_GROUP}, usermod --append \
             --groups {DEFAULT_GROUP} {user}, and restart the gateway"
        );
    }
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let group = group.map_or_else(|| gid.to_string(), |group| group.name);
    format!(
        "run it as root (sudo), or join the group {group}: usermod --append --groups {group} {user}, and \
         log in again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_named_must_exist_and_the_default_need_not() {
        let named = group(Some("no-such-group")).unwrap_err().to_string();
        assert!(named.contains("groupadd --system no-such-group"), "{named}");
        assert_eq!(group(Some("root")).unwrap(), Some(0));
        assert!(group(None).is_ok());
    }

    #[test]
    fn who_asks_is_told_in_a_line() {
        let asker = |pid| Asker { uid: 1000, pid }.to_string();
        assert_eq!(asker(Some(7)), "uid 1000, pid 7");
        assert_eq!(asker(None), "uid 1000");
    }
}
