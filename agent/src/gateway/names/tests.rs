use super::*;
use crossway_sys::clock;

const HOST: &str = "far.example";

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    let texts = texts.iter();
    texts
        .map(|text| SocketAddr::new(text.parse().unwrap(), 0))
        .collect()
}

fn answer(texts: &[&str]) -> Answer {
    Answer {
        host: HOST.to_owned(),
        addresses: Ok(addresses(texts)),
    }
}

fn failure() -> Answer {
    Answer {
        host: HOST.to_owned(),
        addresses: Err("nobody answers".to_owned()),
    }
}

fn asked() -> (Names, Instant) {
    let (mut names, now) = (Names::default(), clock::now());
    names.ask(HOST, now);
    assert_eq!(names.poll_questions().len(), 1);
    (names, now)
}

#[test]
fn a_name_is_asked_for_once_at_a_time_and_not_too_often() {
    let (mut names, now) = asked();
    names.ask(HOST, now + ASKED_AGAIN_AFTER * 9);
    assert_eq!(names.poll_questions(), [], "the first is under way");
    names.on_answer(answer(&["192.0.2.1"]));
    names.ask(HOST, now + ASKED_AGAIN_AFTER / 2);
    assert_eq!(names.poll_questions(), []);
    names.ask(HOST, now + ASKED_AGAIN_AFTER);
    let [question] = &names.poll_questions()[..] else {
        panic!("it is due");
    };
    assert!(!question.doubtful);
    names.on_answer(failure());
    names.ask(HOST, now + ASKED_AGAIN_AFTER * 2);
    assert!(names.poll_questions()[0].doubtful);
}

#[test]
fn the_last_good_answer_outlives_all_bad_ones() {
    let (mut names, now) = asked();
    assert!(names.on_answer(answer(&["192.0.2.1", "2001:db8::1", "192.0.2.1"])));
    let known = addresses(&["192.0.2.1", "2001:db8::1"]);
    assert_eq!(names.addresses(HOST), known);
    for bad in [failure(), answer(&[])] {
        assert!(!names.on_answer(bad));
        assert_eq!(names.addresses(HOST), known);
        assert!(names.trouble(HOST, now).is_some());
    }
    assert!(!names.on_answer(answer(&["192.0.2.1", "2001:db8::1"])));
    assert_eq!(names.trouble(HOST, now), None);
}

#[test]
fn the_address_that_has_answered_is_the_first_from_then_on() {
    let (mut names, _) = asked();
    names.on_answer(answer(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]));
    names.on_reached(HOST, "192.0.2.2".parse().unwrap());
    let order = ["192.0.2.2", "2001:db8::1", "192.0.2.1"];
    assert_eq!(names.addresses(HOST), addresses(&order));
    // In whatever order the server gives them.
    assert!(!names.on_answer(answer(&["192.0.2.1", "192.0.2.2", "2001:db8::1"])));
    assert_eq!(names.addresses(HOST), addresses(&order));
    // One has come: the good one stays in front, the rest is as the resolver sorts it.
    assert!(names.on_answer(answer(&["192.0.2.9", "192.0.2.2", "2001:db8::1"])));
    assert_eq!(
        names.addresses(HOST),
        addresses(&["192.0.2.2", "192.0.2.9", "2001:db8::1"])
    );
    // It has gone, and so has its merit. Who roams to an address of its own teaches us nothing.
    assert!(names.on_answer(answer(&["192.0.2.9", "2001:db8::1"])));
    names.on_reached(HOST, "198.51.100.1".parse().unwrap());
    assert_eq!(
        names.addresses(HOST),
        addresses(&["192.0.2.9", "2001:db8::1"])
    );
}

#[test]
fn people_are_told_of_a_name_that_nobody_answers_for() {
    let (names, now) = asked();
    assert_eq!(names.trouble(HOST, now), None);
    let trouble = names.trouble(HOST, now + ANSWERS_WITHIN);
    assert_eq!(trouble, Some("no name server has answered yet"));
    assert_eq!(names.trouble("another.example", now), None);
}

#[test]
fn what_is_remembered_is_told_once_for_each_change_and_forgotten_with_its_name() {
    let (mut names, _) = asked();
    assert_eq!(names.poll_memory(), None);
    names.on_answer(answer(&["192.0.2.1"]));
    let memory = names.poll_memory().unwrap();
    assert_eq!(memory[HOST], addresses(&["192.0.2.1"]));
    assert_eq!(names.poll_memory(), None);

    let mut next = Names::default();
    next.remember(memory);
    assert_eq!(next.addresses(HOST), addresses(&["192.0.2.1"]));
    assert_eq!(next.poll_memory(), None);
    next.keep(&BTreeSet::from(["another.example"]));
    assert_eq!(next.addresses(HOST), []);
    assert_eq!(next.poll_memory(), Some(BTreeMap::new()));
    // An answer for a name that nobody wants any more.
    assert!(!next.on_answer(answer(&["192.0.2.1"])));
}

#[test]
fn of_a_name_with_very_many_addresses_some_are_kept() {
    let (mut names, _) = asked();
    let many: Vec<String> = (0..100).map(|at| format!("192.0.2.{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    names.on_answer(answer(&many));
    assert_eq!(names.addresses(HOST), addresses(&many[..MOST_ADDRESSES]));
}
