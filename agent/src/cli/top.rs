//! `crossway top`: a live view on a terminal. A thread asks the gateway ([`poll`]), [`state`] is what is known and
//! chosen, [`draw`] shows it, [`keys`] says what a key does.

mod draw;
mod keys;
mod poll;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::poll::Poll;
use self::state::State;
use super::Options;
use super::failure::Failure;

/// How long a key, an answer or a signal may wait.
const TURN: Duration = Duration::from_millis(100);

/// Shows the view until somebody quits it, or SIGTERM or SIGHUP comes.
pub(super) fn top(options: &Options) -> Result<(), Failure> {
    if options.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Wrong(
            "top needs a terminal to draw on: elsewhere use `crossway flows --sort rate --watch 2`, \
             `crossway status --watch 2` or `crossway drops`, with --json for programs"
                .to_owned(),
        ));
    }
    // Before the screen is taken: a gateway that does not run is told in words.
    let poll = Poll::start(options)?;
    let stop = stop_at_signals()?;
    // The terminal is put back by a panic, too: `try_init` sees to that.
    let mut terminal = ratatui::try_init().context("cannot draw on this terminal")?;
    let ended = run(&mut terminal, &poll, &stop);
    let restored = ratatui::try_restore();
    ended?;
    Ok(restored?)
}

fn run(terminal: &mut DefaultTerminal, poll: &Poll, stop: &AtomicBool) -> Result<(), Failure> {
    let mut state = State::default();
    while !stop.load(Ordering::Relaxed) {
        for answer in poll.answers() {
            match answer {
                Ok(sample) => state.take(*sample),
                Err(problem) => state.problem = Some(problem),
            }
        }
        terminal.draw(|frame| draw::draw(frame, &state))?;
        if event::poll(TURN)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            if keys::press(&mut state, key) == keys::Then::Quit {
                return Ok(());
            }
            poll.want(state.request());
        }
    }
    Ok(())
}

/// A flag that SIGTERM, SIGHUP and SIGINT set. The view ends by itself then, with the terminal as it was.
fn stop_at_signals() -> Result<Arc<AtomicBool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let mut signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
    ];
    drop(entered);
    let set = Arc::clone(&stop);
    std::thread::spawn(move || {
        runtime.block_on(async {
            let [terminate, hang_up, interrupt] = &mut signals;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}
