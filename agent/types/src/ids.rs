//! Small numbers that name things inside one gateway.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A site: index into the SITES map. Kept by a site's name across reloads.
    SiteId
}
id! {
    /// A link: (local socket, remote gateway, WireGuard session). Value of the SESSIONS map.
    LinkId
}
id! {
    /// A virtual network. `default` is 0.
    VnetId
}
id! {
    /// An interface index of the kernel's.
    IfIndex
}
