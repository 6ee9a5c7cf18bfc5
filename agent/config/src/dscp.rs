//! Reads `dscp` of `[gateway]`.

use super::diagnostic::shown;
use super::section::Section;
use crossway_types::marks::DscpModel;

/// The model that the section names, if it names one.
pub(super) fn read(section: &Section<'_>) -> Option<DscpModel> {
    let found = section.string("dscp", "\"uniform\"")?;
    let named = DscpModel::ALL
        .into_iter()
        .find(|model| model.as_str() == found.value);
    if named.is_none() {
        section.error(
            "dscp",
            found.offset,
            format!("{} is no way to treat classes", shown(found.value)),
            "write \"pipe\" (the class of a packet does not show outside) or \"uniform\" (datagrams have that of their \
             packets)",
        );
    }
    named
}
