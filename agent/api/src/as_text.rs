//! A prefix as text in messages.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de};

use crossway_types::prefix::Prefix;

#[expect(clippy::ref_option, reason = "serde's signature")]
pub(super) fn serialize<S: Serializer>(
    prefix: &Option<Prefix>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match prefix {
        Some(prefix) => serializer.collect_str(prefix),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Prefix>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| Prefix::from_str(&text).map_err(de::Error::custom))
        .transpose()
}
