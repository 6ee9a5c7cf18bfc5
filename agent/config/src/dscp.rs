//! Reads `dscp` of `[gateway]`.

use super::section::{At, Choice, Section};
use crossway_types::marks::DscpModel;

/// The model that the section names, if it names one.
pub(super) fn read(section: &Section<'_>) -> Option<DscpModel> {
    let choice = Choice {
        example: "\"uniform\"",
        all: &DscpModel::ALL,
        word: DscpModel::as_str,
        is: "no way to treat classes",
        mend: "write \"pipe\" (the class of a packet does not show outside) or \"uniform\" (datagrams have that of their \
               packets)",
    };
    section.choice("dscp", &choice).map(At::into_value)
}
