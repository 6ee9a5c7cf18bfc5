//! Policy: who may reach what.
//!
//! [`source`] is what the file says, in words. [`resolve`](Policy::new) makes of them sets of
//! addresses and of ports (`words.rs`, `ports.rs`), which `compile.rs` turns into the image that
//! programs and lanes ask ([`datapath_abi::policy`]). `proof.rs` proves what no rule may allow and
//! what must be allowed. No I/O.

#![warn(missing_docs)]

mod area;
mod circle;
mod compile;
pub mod fault;
mod network;
pub mod ports;
mod proof;
mod resolve;
mod rule;
mod sets;
pub mod source;
mod spans;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use datapath_abi::policy::Line;

use self::compile::Compiled;
pub use self::fault::Fault;
pub use self::network::{Network, SiteNetwork};
pub use self::rule::Rule;
pub use self::source::{Denied, Source, Stance};

/// The policy of a gateway: rules that have been understood, and their images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of a packet that no rule allows.
    pub denied: Denied,
    /// The active rules by their number in the image, which is their order in the file; the last
    /// may be the implicit one for what the gateway itself opens. Empty where the policy is open.
    pub rules: Vec<Rule>,
    /// As `rules`, of the shadow rules. Empty without any.
    pub shadow: Vec<Rule>,
    /// What the file says.
    pub source: Source,
    active: Compiled,
    tried: Option<Compiled>,
}

impl Policy {
    /// Understands `source`; names of sites and tags are those of `network`.
    ///
    /// Returns the policy with what works but is probably not meant.
    ///
    /// # Errors
    /// Everything that is wrong, and what is probably not meant.
    pub fn new(source: Source, network: &Network) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        resolve::policy(source, network)
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.source.is_open()
    }

    /// The active rules, compiled.
    pub fn image(&self) -> Arc<[Line]> {
        self.active.lines()
    }

    /// The shadow rules, compiled, if there are any.
    pub fn shadow_image(&self) -> Option<Arc<[Line]>> {
        self.tried.as_ref().map(Compiled::lines)
    }
}

impl Default for Policy {
    /// Everything passes.
    fn default() -> Self {
        Self {
            denied: Denied::default(),
            rules: Vec::new(),
            shadow: Vec::new(),
            source: Source::default(),
            active: Compiled::open(),
            tried: None,
        }
    }
}
