use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::*;
use crate::control::message::{EventKind, EventsReply, EventsRequest};
use crate::control::users::{MOST_FOLLOWERS, Users};
use crate::journal::{CAPACITY, Change};

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

#[tokio::test]
async fn a_follower_is_told_each_new_event_and_of_the_end() {
    let journal = watch::Sender::new(Journal::default());
    let followers = Followers::new(journal.subscribe(), watch::channel(Recent::default()).1);
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
    let followers = Followers::new(journal.subscribe(), watch::channel(Recent::default()).1);
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
async fn a_reader_that_goes_away_gives_its_place_back() {
    let journal = watch::Sender::new(Journal::default());
    let followers = Followers::new(journal.subscribe(), watch::channel(Recent::default()).1);
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
