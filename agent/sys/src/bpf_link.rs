//! Whether eBPF programs are still where they were attached. By the links alone, which anybody who has them may ask: no
//! privilege is needed.

use std::os::fd::{AsRawFd, OwnedFd};

/// A command of bpf(2), from `enum bpf_cmd` of linux/bpf.h.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Links of programs on a device. Cloned by [`Self::try_clone`] for whoever else wants to look.
#[derive(Debug)]
pub struct Attached {
    links: Vec<OwnedFd>,
}

/// `union bpf_attr` as `BPF_OBJ_GET_INFO_BY_FD` reads it.
#[repr(C)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The start of `struct bpf_link_info` of a tcx link (kernel 6.6).
#[repr(C, align(8))]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

impl Attached {
    /// The programs of these links of tcx. Without any link they count as attached: filters of clsact
    /// have none, and are to be looked for where they should be ([`Self::has_links`]).
    pub fn new(links: Vec<OwnedFd>) -> Self {
        Self { links }
    }

    /// Another one of the same links.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let links = self.links.iter().map(OwnedFd::try_clone);
        Ok(Self {
            links: links.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is a link to ask.
    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether all of them are attached now. A link whose program was detached, or whose device is gone, has none.
    pub fn are_attached(&self) -> bool {
        self.links.iter().all(is_attached)
    }
}

fn is_attached(link: &OwnedFd) -> bool {
    let mut info = LinkInfo::default();
    let attributes = InfoAttributes {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the attributes are those of this command and valid for the whole call; it writes at most `info_len` bytes to
    // `info`, which is as long and lives until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<InfoAttributes>(),
        )
    };
    result == 0 && info.ifindex != 0
}
