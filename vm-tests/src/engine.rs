//! The two engines that can run the sessions of a Crossway gateway.

use std::env;

use crate::plan::GatewayPlan;

/// By its word in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine(&'static str);

/// Crossway's own.
pub const CROSSWAY: Engine = Engine("crossway");
/// boringtun's.
pub const BORINGTUN: Engine = Engine("boringtun");

/// Environment variable that names the engine of all gateways whose plan names none: so each test of the ring can be
/// run with either.
const VARIABLE: &str = "CROSSWAY_ENGINE";

impl Engine {
    /// The line of the configuration.
    pub fn line(self) -> String {
        format!("engine = {:?}", self.0)
    }

    /// The word of the configuration and of `links --json`.
    pub fn word(self) -> &'static str {
        self.0
    }
}

impl GatewayPlan {
    /// Has all sessions of the gateway run by this engine.
    pub fn set_engine(&mut self, engine: Engine) {
        self.gateway_lines.push(engine.line());
    }

    /// The line that `$CROSSWAY_ENGINE` asks for, unless the plan has one.
    pub(crate) fn engine_asked_for(&self) -> Option<String> {
        let named = self
            .gateway_lines
            .iter()
            .any(|line| line.starts_with("engine"));
        let word = env::var(VARIABLE).ok().filter(|_| !named)?;
        Some(format!("engine = {word:?}"))
    }
}

/// Makes each function that takes an [`Engine`] a test with either.
#[macro_export]
macro_rules! with_either_engine {
    ($($test:ident),+ $(,)?) => {
        mod with_our_engine {
            $(#[test] fn $test() { super::$test($crate::engine::CROSSWAY); })+
        }
        mod with_boringtuns_engine {
            $(#[test] fn $test() { super::$test($crate::engine::BORINGTUN); })+
        }
    };
}
