//! The two engines that can run the sessions of a Crossway gateway.

use std::env;

use crossway_config::Config;
pub use crossway_types::engine::Engine;

use crate::plan::GatewayPlan;

/// Environment variable that names the engine of all gateways whose plan names none: so each test of the ring can be
/// run with either.
const VARIABLE: &str = "CROSSWAY_ENGINE";

impl GatewayPlan {
    /// Has all sessions of the gateway run by this engine.
    pub fn set_engine(&mut self, engine: Engine) {
        self.configure(move |config| set(config, engine));
    }
}

/// Has all sessions run by this engine.
pub fn set(config: &mut Config, engine: Engine) {
    config.gateway.engine = engine;
    let of_sites = config.sites.iter_mut().flat_map(|site| &mut site.gateways);
    for gateway in of_sites.chain(&mut config.gateway.replicas) {
        gateway.engine = engine;
    }
}

/// The engine that `$CROSSWAY_ENGINE` asks for.
pub(crate) fn asked_for() -> Option<Engine> {
    let word = env::var(VARIABLE).ok()?;
    Engine::ALL
        .into_iter()
        .find(|engine| engine.as_str() == word)
}

/// Makes each function that takes an [`Engine`] a test with either.
#[macro_export]
macro_rules! with_either_engine {
    ($($test:ident),+ $(,)?) => {
        mod with_our_engine {
            $(#[test] fn $test() { super::$test($crate::engine::Engine::Crossway); })+
        }
        mod with_boringtuns_engine {
            $(#[test] fn $test() { super::$test($crate::engine::Engine::Boringtun); })+
        }
    };
}
