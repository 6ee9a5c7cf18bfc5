//! The user side of what is kept in two maps at once: whoever fills the maps, the agent or a test, does it
//! through these, so that the rule stands in one place.

mod interfaces;
mod rule_sets;
mod sessions;

use aya::maps::MapError;

pub use self::interfaces::Interfaces;
pub use self::rule_sets::RuleSets;
pub use self::sessions::Sessions;

/// Whether a removal removed something; that there was nothing to remove is no error.
pub fn removed(result: Result<(), MapError>) -> Result<bool, MapError> {
    /// From `asm-generic/errno-base.h`.
    const ENOENT: i32 = 2;
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(ENOENT) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
