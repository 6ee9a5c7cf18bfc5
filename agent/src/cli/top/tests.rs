use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::{Then, press};
use super::poll::Sample;
use super::state::{State, Upper, parse_filter};
use super::{draw, keys};
use crate::control::{FlowDirection, FlowFilter, FlowSort};
use crossway_sys::clock;

/// What a gateway answered, as `--json` prints it.
fn sample() -> Sample {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let of = |text| serde_json::from_value(read(text)).unwrap();
    Sample {
        at: clock::now(),
        status: of(include_str!("../../../tests/cli/golden/status.json")),
        drops: serde_json::from_str(include_str!("../../../tests/cli/golden/drops.json")).unwrap(),
        flows: serde_json::from_str(include_str!("../../../tests/cli/golden/flows.json")).unwrap(),
    }
}

/// A second later: a link has sent a megabyte, and more was dropped.
fn later(mut sample: Sample) -> Sample {
    sample.at += Duration::from_secs(1);
    sample.status.sites[0].links[0].tx_bytes += 1_000_000;
    let dropped = sample.drops.drops.iter_mut();
    dropped.for_each(|drop| drop.packets += 7 * u64::from(drop.packets > 0));
    sample
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, state)).unwrap();
    terminal.backend().to_string()
}

fn state() -> State {
    let mut state = State::default();
    let first = sample();
    let second = later(first.clone());
    state.take(first);
    state.take(second);
    state
}

fn press_all(state: &mut State, letters: &str) {
    for letter in letters.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        assert_eq!(
            press(state, KeyEvent::new(code, KeyModifiers::NONE)),
            Then::GoOn
        );
    }
}

#[test]
fn eighty_columns_and_24_lines_show_sites_drops_flows_and_keys() {
    let mut state = state();
    let shown = screen(&state, 80, 24);
    println!("{shown}");
    assert_eq!(shown.lines().count(), 24);
    for word in [
        "berlin-1",
        "SITE",
        "paris",
        "DROPPED",
        "(+7/s)",
        "10.1.0.2:40000",
        "sort:rate",
        "help",
    ] {
        assert!(shown.contains(word), "{word} in\n{shown}");
    }
    state.upper = Upper::Links;
    let shown = screen(&state, 80, 24);
    assert!(
        shown.contains("LANE") && shown.contains("8.0 Mbit/s"),
        "{shown}"
    );
    assert!(
        shown.contains('█'),
        "the latest rate is the highest: {shown}"
    );
}

#[test]
fn a_flow_that_nobody_answers_is_marked() {
    let mut sample = sample();
    sample.flows.flows[0].from_site_packets = 0;
    let mut state = State::default();
    state.take(sample);
    let shown = screen(&state, 100, 24);
    let line = shown
        .lines()
        .find(|line| line.contains("10.1.0.2:40000"))
        .unwrap();
    assert!(line.contains("->"), "{line}");
}

#[test]
fn a_small_or_an_empty_screen_says_what_is_missing() {
    assert!(screen(&state(), 40, 24).contains("needs 60 columns"));
    assert!(screen(&State::default(), 80, 24).contains("Waiting"));
    for (width, height) in [(1, 1), (60, 12), (300, 100)] {
        screen(&state(), width, height);
    }
}

#[test]
fn keys_sort_filter_hold_and_quit() {
    let mut state = state();
    press_all(&mut state, "s");
    assert_eq!(state.request().sort, FlowSort::Bytes);
    press_all(&mut state, "o");
    assert_eq!(
        state.request().filter.direction,
        Some(FlowDirection::OneWay)
    );
    press_all(&mut state, "/port x\n");
    assert!(screen(&state, 80, 24).contains("x is no port"));
    let backspace = KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE);
    press(&mut state, backspace);
    press_all(&mut state, "443 tcp site paris\n");
    assert_eq!(
        state.request().filter.to_string(),
        "--port 443 --protocol tcp --site paris"
    );
    press_all(&mut state, "c");
    assert_eq!(state.filter, FlowFilter::default());
    press_all(&mut state, "jjjjjj");
    assert_eq!(
        state.scroll,
        state.sample.as_ref().unwrap().flows.flows.len() - 1
    );
    press_all(&mut state, "g ");
    let held = state.sample.as_ref().unwrap().at;
    state.take(later(later(sample())));
    assert_eq!(state.sample.as_ref().unwrap().at, held);
    assert!(screen(&state, 80, 24).contains("held"));
    press_all(&mut state, "?");
    let help = screen(&state, 80, 24);
    assert!(
        keys::HELP.iter().all(|(key, _)| help.contains(key)),
        "{help}"
    );
    press_all(&mut state, "x");
    let quit = press(
        &mut state,
        KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE),
    );
    assert_eq!(quit, Then::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press_all(&mut state, "/");
    assert_eq!(press(&mut state, control_c), Then::Quit);
}

#[test]
fn a_typed_filter_is_read_word_by_word_and_what_is_wrong_is_told() {
    let filter = parse_filter("from 10.1.0.0/24 to 10.2.0.9 udp one-way 2001:db8::/32").unwrap();
    assert_eq!(
        filter.to_string(),
        "--address 2001:db8::/32 --source 10.1.0.0/24 --destination 10.2.0.9/32 --protocol udp \
         --direction one-way"
    );
    assert_eq!(parse_filter(" "), Ok(FlowFilter::default()));
    for wrong in ["site", "port", "port 70000", "nonsense", "from nowhere"] {
        assert!(parse_filter(wrong).is_err(), "{wrong}");
    }
}
