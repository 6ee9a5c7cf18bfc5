//! Device features by name, as `ethtool -k` shows and `ethtool -K` sets them.

use std::io;

use super::{Command, ethtool, text};

/// From linux/ethtool.h.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;

/// Most features that are looked at; Linux 6.18 has fewer than 70.
const MOST: usize = 256;
/// Words of 32 features.
const WORDS: usize = MOST / 32;

/// `struct ethtool_sset_info`, for one set.
#[repr(C)]
struct SetInfo {
    cmd: u32,
    reserved: u32,
    mask: u64,
    length: u32,
}

/// `struct ethtool_gstrings`.
#[repr(C)]
struct Strings {
    cmd: u32,
    set: u32,
    length: u32,
    names: [[u8; 32]; MOST],
}

/// `struct ethtool_gfeatures`.
#[repr(C)]
struct Features {
    cmd: u32,
    words: u32,
    /// Available, requested, active, never to be changed.
    bits: [[u32; 4]; WORDS],
}

/// `struct ethtool_sfeatures`.
#[repr(C)]
struct Wanted {
    cmd: u32,
    words: u32,
    /// Valid, requested.
    bits: [[u32; 2]; WORDS],
}

// SAFETY: linux/ethtool.h; only integers, and the room for one set's length.
unsafe impl Command for SetInfo {}
// SAFETY: linux/ethtool.h; only integers, and the kernel writes as many names as `SetInfo` said,
// which `count` has compared with `MOST`.
unsafe impl Command for Strings {}
// SAFETY: linux/ethtool.h; only integers, and the kernel writes at most `words` words.
unsafe impl Command for Features {}
// SAFETY: linux/ethtool.h; the kernel only reads it.
unsafe impl Command for Wanted {}

/// How a feature of a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether it is on.
    pub active: bool,
    /// Whether it can be switched.
    pub changeable: bool,
}

/// Whether `feature` of the device is on; `None` where the kernel does not have it or it cannot be
/// changed.
pub fn get(device: &str, feature: &str) -> io::Result<Option<bool>> {
    let state = state(device, feature)?.filter(|state| state.changeable);
    Ok(state.map(|state| state.active))
}

/// How `feature` of the device is; `None` where the kernel does not have it.
pub fn state(device: &str, feature: &str) -> io::Result<Option<State>> {
    let Some(number) = number_of(device, feature, count(device)?)? else {
        return Ok(None);
    };
    let mut features = Features {
        cmd: ETHTOOL_GFEATURES,
        words: WORDS as u32,
        bits: [[0; 4]; WORDS],
    };
    ethtool(device, &mut features)?;
    let [available, _, active, fixed] =
        features.bits[number / 32].map(|word| word & (1 << (number % 32)) != 0);
    Ok(Some(State {
        active,
        changeable: available && !fixed,
    }))
}

/// Switches `feature` of the device on or off. Whether the kernel has it.
pub fn set(device: &str, feature: &str, on: bool) -> io::Result<bool> {
    let count = count(device)?;
    let Some(number) = number_of(device, feature, count)? else {
        return Ok(false);
    };
    let mut wanted = Wanted {
        cmd: ETHTOOL_SFEATURES,
        // The kernel refuses more words than it has, and none of them is empty.
        words: count.div_ceil(32),
        bits: [[0; 2]; WORDS],
    };
    let bit = 1 << (number % 32);
    wanted.bits[number / 32] = [bit, if on { bit } else { 0 }];
    ethtool(device, &mut wanted)?;
    Ok(true)
}

/// The place of a feature among the `length` of this kernel.
fn number_of(device: &str, feature: &str, length: u32) -> io::Result<Option<usize>> {
    let mut strings = Box::new(Strings {
        cmd: ETHTOOL_GSTRINGS,
        set: ETH_SS_FEATURES,
        length,
        names: [[0; 32]; MOST],
    });
    ethtool(device, &mut *strings)?;
    let names = &strings.names[..length as usize];
    Ok(names.iter().position(|name| text(name) == feature))
}

/// How many features this kernel has, at most [`MOST`].
fn count(device: &str) -> io::Result<u32> {
    let mut info = SetInfo {
        cmd: ETHTOOL_GSSET_INFO,
        reserved: 0,
        mask: 1 << ETH_SS_FEATURES,
        length: 0,
    };
    ethtool(device, &mut info)?;
    if info.length as usize > MOST {
        return Err(io::Error::other(
            "the kernel has more device features than expected",
        ));
    }
    Ok(info.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_by_their_names() {
        assert!(get("lo", "rx-gro").unwrap().is_some());
        assert_eq!(get("lo", "no-such-feature").unwrap(), None);
        assert!(get("nosuch0", "rx-gro").is_err());
    }

    #[test]
    fn lengths_are_those_of_the_kernels_structures() {
        assert_eq!(size_of::<SetInfo>() - 4, size_of::<u64>() * 2 + 4);
        assert_eq!(std::mem::offset_of!(SetInfo, length), 16);
        assert_eq!(std::mem::offset_of!(Strings, names), 12);
        assert_eq!(std::mem::offset_of!(Features, bits), 8);
        assert_eq!(std::mem::offset_of!(Wanted, bits), 8);
    }
}
