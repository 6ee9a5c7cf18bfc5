//! What a key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{State, Upper, parse_filter};
use crate::control::FlowFilter;

/// Keys and what they do, as the help shows them.
pub(super) const HELP: [(&str, &str); 10] = [
    ("q, Ctrl-C", "quit"),
    ("s", "next order: rate, bytes, packets, age, idle"),
    (
        "/",
        "filter: site NAME, port N, tcp, PREFIX, from PREFIX, to PREFIX, one-way",
    ),
    ("o", "one-way flows alone: nobody has answered them"),
    ("c", "no filter"),
    ("Tab", "sites, or links with their lanes"),
    ("up, down, k, j", "scroll the flows"),
    ("Home, g", "back to the first"),
    ("Space", "hold the view, or let it go on"),
    ("?, h", "this help"),
];

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Quit,
}

pub(super) fn press(state: &mut State, key: KeyEvent) -> Then {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Then::Quit;
    }
    if state.typed.is_some() {
        type_filter(state, key.code);
        return Then::GoOn;
    }
    if state.help {
        state.help = false;
        return Then::GoOn;
    }
    match key.code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Char('s') => {
            state.next_sort();
            state.scroll = 0;
        }
        KeyCode::Char('/') => state.typed = Some((String::new(), None)),
        KeyCode::Char('o') => state.toggle_one_way(),
        KeyCode::Char('c') => {
            state.filter = FlowFilter::default();
            state.scroll = 0;
        }
        KeyCode::Tab => {
            state.upper = match state.upper {
                Upper::Sites => Upper::Links,
                Upper::Links => Upper::Sites,
            }
        }
        KeyCode::Down | KeyCode::Char('j') => {
            let flows = state
                .sample
                .as_ref()
                .map_or(0, |sample| sample.flows.flows.len());
            state.scroll = (state.scroll + 1).min(flows.saturating_sub(1));
        }
        KeyCode::Up | KeyCode::Char('k') => state.scroll = state.scroll.saturating_sub(1),
        KeyCode::Home | KeyCode::Char('g') => state.scroll = 0,
        KeyCode::Char(' ') => state.paused = !state.paused,
        KeyCode::Char('?' | 'h') => state.help = true,
        _ => {}
    }
    Then::GoOn
}

fn type_filter(state: &mut State, code: KeyCode) {
    let Some((text, _)) = &mut state.typed else {
        return;
    };
    match code {
        KeyCode::Esc => state.typed = None,
        KeyCode::Enter => match parse_filter(text) {
            Ok(filter) => {
                state.filter = filter;
                state.scroll = 0;
                state.typed = None;
            }
            Err(problem) => {
                let text = std::mem::take(text);
                state.typed = Some((text, Some(problem)));
            }
        },
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(letter) => text.push(letter),
        _ => {}
    }
}
