//! What of the file a running gateway can change.

use super::{Gateway, KeyFile};

impl Gateway {
    /// The settings in which `new` differs and that cannot change while the gateway runs, each with the
    /// mend; empty if `new` can be put in force.
    pub fn refuse_change_while_running(&self, new: &Self) -> Vec<String> {
        // Without `..`, so that a new setting must be sorted in here.
        let Self {
            name,
            private_key_file,
            listen,
            tunnel_addresses: _,
            engine: _,
            dscp: _,
            lanes,
            mtu: _,
            path_mtu: _,
            flows,
            fast_path,
            seccomp,
            control_group,
            lan: _,
            wan: _,
            health: _,
            vrrp: _,
            replicas: _,
        } = self;
        let settings = [
            ("name", *name != new.name),
            ("listen", *listen != new.listen),
            ("lanes", *lanes != new.lanes),
            ("flows", *flows != new.flows),
            ("fast_path", *fast_path != new.fast_path),
            ("seccomp", *seccomp != new.seccomp),
            ("control_group", *control_group != new.control_group),
        ];
        let changed = settings.into_iter().filter(|(_, changed)| *changed);
        let settings = changed.map(|(setting, _)| {
            format!(
                "gateway.{setting} has changed and cannot change while the gateway runs: \
                 restart it, or put the old value back"
            )
        });
        let key = other_private_key(private_key_file, &new.private_key_file);
        settings.chain(key).collect()
    }
}

/// The private key is what this gateway is to its far ends. What counts is the key, not its file.
fn other_private_key(running: &KeyFile, new: &KeyFile) -> Option<String> {
    if running.is_same_key(new) {
        return None;
    }
    let changed = if running.path == new.path {
        format!("the key in {}", new.path.display())
    } else {
        "private_key_file".to_owned()
    };
    Some(format!(
        "gateway.private_key_file: {changed} has changed, and cannot change while the gateway runs: restart it \
         once the far gateways know the new public key, or put the old one back"
    ))
}
