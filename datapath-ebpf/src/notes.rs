//! What a program finds out about a packet before it has decided, told to whoever wants to know.

use datapath_abi::headers::Headers;

use crate::{flow::Flow, wire::Wire};

/// Takes notes. What is not wanted costs nothing.
pub(crate) trait Notes {
    /// The headers could be read.
    #[inline(always)]
    fn headers(&mut self, _headers: &Headers) {}

    /// The flow, and where its far end is.
    #[inline(always)]
    fn flow(&mut self, _flow: &Flow) {}

    /// The policy has judged the flow, or had before.
    #[inline(always)]
    fn judged(&mut self, _flow: &Flow) {}

    /// What the packet is on the wire.
    fn wire(&mut self, wire: &Wire);
}

/// The number of packets on the wire: all that the programs count by.
impl Notes for u64 {
    #[inline(always)]
    fn wire(&mut self, wire: &Wire) {
        *self = wire.packets;
    }
}
