//! The live status: what both agents say about themselves, once a second, until it is enough.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use vm_tests::{sys, wait};

use super::page;

const PERIOD: Duration = Duration::from_secs(1);
/// Clears the screen once.
const CLEAR: &str = "\x1b[2J";
/// Cursor home, then clear what is left of each line and below: clearing all each second would flicker.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const REST: &str = "\x1b[J";

/// Shows the status until `duration` is over or a signal asks to stop. Without a terminal, one status
/// after the other is printed. `result` is repeated where the terminal is cleared.
pub(super) fn show(gateways: &[&str], result: &str, hints: &str, duration: Option<Duration>) {
    let screen = Screen {
        terminal: std::io::stdout().is_terminal(),
        result,
        hints,
        start: wait::now(),
        duration,
    };
    screen.open();
    loop {
        let pages: String = gateways.iter().map(|gateway| page::of(gateway)).collect();
        screen.draw(&pages);
        let left = screen.left();
        if left.is_some_and(|left| left.is_zero()) {
            return;
        }
        if sys::stop_requested() || !wait::pace(left.map_or(PERIOD, |left| left.min(PERIOD))) {
            return;
        }
    }
}

struct Screen<'a> {
    terminal: bool,
    result: &'a str,
    hints: &'a str,
    start: Instant,
    duration: Option<Duration>,
}

impl Screen<'_> {
    fn open(&self) {
        if self.terminal {
            print!("{CLEAR}");
        } else {
            println!("{}", self.hints);
        }
    }

    fn draw(&self, pages: &str) {
        if self.terminal {
            let Self { result, hints, .. } = self;
            let all = format!("{pages}{result}\n{hints}{}\n", self.ending());
            let lines = all.replace('\n', &format!("{END_OF_LINE}\n"));
            print!("{HOME}{lines}{REST}");
        } else {
            println!("after {} s\n{pages}", self.start.elapsed().as_secs());
        }
        // Whoever reads this may have gone; the lab goes on.
        let _ = std::io::stdout().flush();
    }

    fn left(&self) -> Option<Duration> {
        let duration = self.duration?;
        Some(duration.saturating_sub(self.start.elapsed()))
    }

    fn ending(&self) -> String {
        self.left().map_or_else(
            || "\nCtrl-C ends the lab.".to_owned(),
            |left| format!("\nThe lab ends in {} s.", left.as_secs()),
        )
    }
}
