//! The terminal behind a descriptor.

use std::os::fd::{AsFd, AsRawFd};

/// Columns of the terminal that it is (`TIOCGWINSZ`); `None` where it is none, or does not say.
pub fn columns(terminal: impl AsFd) -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let descriptor = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel writes a `winsize`, which `size` is for the whole call.
    let answer = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_columns() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(columns(&file), None);
    }
}
