//! Where a walk through the flow table goes on.

use std::fmt;
use std::str::FromStr;

/// A place in the table: in which part of it, and at which bucket, without one at the start. Places are in the order of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Walk {
    /// Among the flows of IPv4, which come first.
    V4(Option<u32>),
    /// Among those of IPv6.
    V6(Option<u32>),
}

impl Default for Walk {
    /// The start of the table.
    fn default() -> Self {
        Self::V4(None)
    }
}

impl fmt::Display for Walk {
    /// `4`, `4.1023`, `6`, `6.77`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, place) = match self {
            Self::V4(place) => (4, place),
            Self::V6(place) => (6, place),
        };
        match place {
            None => write!(f, "{family}"),
            Some(bucket) => write!(f, "{family}.{bucket}"),
        }
    }
}

impl FromStr for Walk {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (family, place) = match text.split_once('.') {
            None => (text, None),
            Some((family, bucket)) => (family, Some(bucket.parse().map_err(drop)?)),
        };
        match family {
            "4" => Ok(Self::V4(place)),
            "6" => Ok(Self::V6(place)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_after_a_trip_as_text_and_places_are_in_order() {
        let places = ["4", "4.0", "4.17", "4.4294967295", "6", "6.3"];
        let walks = places.map(|text| text.parse::<Walk>().unwrap());
        assert_eq!(walks.map(|walk| walk.to_string()), places);
        assert!(walks.is_sorted());
        assert_eq!(walks[0], Walk::default());
        for wrong in ["", "5", "4.", "4.-1", "4.4294967296", "4.1.1"] {
            assert_eq!(wrong.parse::<Walk>(), Err(()), "{wrong}");
        }
    }
}
