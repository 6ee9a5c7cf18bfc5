//! A firewall that drops what conntrack calls invalid, as firewalld, Docker and kube-proxy install it.

use anyhow::{Context, Result};

use crate::netns::Netns;

/// Lays it into what a gateway forwards.
pub fn lay(gateway: &Netns) -> Result<()> {
    for line in [
        "nft add table inet beside",
        "nft add chain inet beside forward { type filter hook forward priority 0 ; }",
        "nft add rule inet beside forward ct state invalid counter drop",
    ] {
        gateway.run(line)?;
    }
    Ok(())
}

/// Packets that it has dropped.
pub fn dropped(gateway: &Netns) -> Result<u64> {
    let text = gateway.run("nft list chain inet beside forward")?;
    let (_, rest) = text.split_once("counter packets ").context("no counter")?;
    let packets = rest.split_whitespace().next().context("no number")?;
    Ok(packets.parse()?)
}
