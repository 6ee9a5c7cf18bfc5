use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::*;
use crate::control::message::{
    EventKind, EventsReply, EventsRequest, LogLevel, LogLine, LogRequest,
};
use crate::control::users::{MOST_FOLLOWERS, Users};
use crate::journal::{CAPACITY, Change};
use crate::logging;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(10);

fn change(cause: &impl ToString) -> Change {
    Change {
        kind: EventKind::Link,
        subject: "paris/paris-1".to_owned(),
        from: Some("Up".to_owned()),
        to: "Down".to_owned(),
        cause: cause.to_string(),
    }
}

fn record(journal: &watch::Sender<Journal>, cause: &impl ToString) {
    journal.send_modify(|journal| journal.record(Duration::ZERO, change(cause)));
}

fn follow_request() -> Request {
    Request::Events(EventsRequest {
        last: None,
        follow: true,
    })
}

fn visit() -> Visit {
    Users::new(0).enter(1000).unwrap()
}

/// A follower that has been told everything before event 1, and the reader's end of it.
fn start(followers: &Followers) -> (tokio::task::JoinHandle<io::Result<()>>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let place = followers
        .admit(&follow_request(), &visit())
        .unwrap()
        .unwrap();
    (tokio::spawn(place.follow(ours, 1).run()), theirs)
}

async fn next_line(reader: &mut BufReader<UnixStream>) -> EventsReply {
    let mut line = String::new();
    timeout(DEADLINE, reader.read_line(&mut line))
        .await
        .expect("a line in time")
        .unwrap();
    match serde_json::from_str(&line).unwrap() {
        Response::Events(reply) => reply,
        other => panic!("expected events, found {other:?}"),
    }
}

fn followers(journal: &watch::Sender<Journal>, log: &watch::Sender<Ring>) -> Followers {
    Followers::new(Streams {
        journal: journal.subscribe(),
        finished: watch::Sender::default().subscribe(),
        log: log.subscribe(),
    })
}

#[tokio::test]
async fn a_follower_is_told_each_new_event_and_of_the_end() {
    let journal = watch::Sender::new(Journal::default());
    let followers = followers(&journal, &watch::Sender::default());
    let (task, theirs) = start(&followers);
    let mut reader = BufReader::new(theirs);
    for number in 1..=3 {
        record(&journal, &number);
        let reply = next_line(&mut reader).await;
        assert_eq!(reply.events[0].sequence, number);
        assert_eq!((reply.events.len(), reply.missed), (1, 0));
    }
    drop(journal);
    timeout(DEADLINE, task).await.unwrap().unwrap().unwrap();
    let mut rest = String::new();
    assert_eq!(reader.read_line(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nothing_up_and_learns_what_it_missed() {
    let journal = watch::Sender::new(Journal::default());
    let followers = followers(&journal, &watch::Sender::default());
    let (_task, theirs) = start(&followers);
    // Far more than a socket takes: the recording side never waits.
    let recorded = 40 * CAPACITY as u64;
    for number in 0..recorded {
        record(&journal, &format!("{number}: {}", "x".repeat(200)));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut reader = BufReader::new(theirs);
    let (mut told, mut missed) = (0, 0);
    while told + missed < recorded {
        let reply = next_line(&mut reader).await;
        missed += reply.missed;
        told += reply.events.len() as u64;
    }
    assert!(missed > 0, "it was told all {told}");
    assert_eq!(told + missed, recorded);
}

#[tokio::test]
async fn a_follower_of_the_log_is_told_what_it_wants_and_what_it_missed() {
    let log = watch::Sender::<Ring>::default();
    let journal = watch::Sender::new(Journal::default());
    let followers = followers(&journal, &log);
    let say = |level, number: usize| {
        log.send_modify(|ring| {
            ring.push(LogLine {
                level,
                message: format!("{number}: {}", "x".repeat(100)),
                ..LogLine::default()
            });
        });
    };
    let request = Request::Log(LogRequest {
        follow: true,
        level: LogLevel::Warn,
        ..LogRequest::default()
    });
    let (ours, theirs) = UnixStream::pair().unwrap();
    let place = followers.admit(&request, &visit()).unwrap().unwrap();
    let _task = tokio::spawn(place.follow(ours, 1).run());
    // Every second line is none that it wants.
    let said = 20 * logging::CAPACITY;
    for number in 0..said {
        let level = if number % 2 == 0 {
            LogLevel::Warn
        } else {
            LogLevel::Info
        };
        say(level, number);
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut reader = BufReader::new(theirs);
    let (mut told, mut missed, mut last) = (0, 0, 0);
    while last < said as u64 - 1 {
        let mut line = String::new();
        let read = timeout(DEADLINE, reader.read_line(&mut line)).await;
        read.expect("a line in time").unwrap();
        let Response::Log(reply) = serde_json::from_str(&line).unwrap() else {
            panic!("expected lines of the log, found {line}");
        };
        assert!(reply.lines.iter().all(|line| line.level == LogLevel::Warn));
        missed += reply.missed;
        told += reply.lines.len() as u64;
        last = reply.lines.last().map_or(last, |line| line.sequence);
    }
    assert!(missed > 0, "it was told all {told}");
    // Half of the others were for it; a line at the edge of what it missed may be of either kind.
    let others = said as u64 - missed;
    assert!(
        told.abs_diff(others / 2) <= 20,
        "{missed} and {told} of {said}"
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_its_place_back() {
    let journal = watch::Sender::new(Journal::default());
    let followers = followers(&journal, &watch::Sender::default());
    let visit = visit();
    let admit = |request| followers.admit(&request, &visit);
    let run = |place: Option<Place>| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (tokio::spawn(place.unwrap().follow(ours, 1).run()), theirs)
    };
    let mut running: Vec<_> = (0..MOST_FOLLOWERS)
        .map(|_| run(admit(follow_request()).unwrap()))
        .collect();
    assert!(admit(follow_request()).is_err());
    assert!(admit(Request::Status).unwrap().is_none());
    let (task, theirs) = running.remove(0);
    drop(theirs);
    timeout(DEADLINE, task).await.unwrap().unwrap().unwrap();
    assert!(admit(follow_request()).unwrap().is_some());
}
