//! Who may reach what: the same whether the eBPF programs judge or the lanes.
//!
//! ```text
//!   host a ── gateway a, which has the rules ═══ WAN ═══ gateway b ── host b
//! ```
//! What must not pass is looked for at the host that it was for.

#[path = "policy/applications.rs"]
mod applications;
#[path = "policy/directions.rs"]
mod directions;
#[path = "policy/life.rs"]
mod life;
#[path = "policy/refused.rs"]
mod refused;
#[path = "policy/scene.rs"]
mod scene;
#[path = "policy/talk.rs"]
mod talk;
