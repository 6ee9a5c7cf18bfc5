use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use tokio::sync::watch;

use super::*;
use crate::control::message::Version;
use crate::control::users::{MOST_OPEN, MOST_SERVED};
use crate::journal::Journal;

/// A socket path in a folder of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("crossway-{name}-{}", std::process::id()));
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("berlin.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a server whose gateway answers `version` and drops every other request unanswered.
fn start(place: &Place) -> tokio::task::JoinHandle<()> {
    let server = Server::bind(&place.socket()).unwrap();
    let (gateway, mut requests) = mpsc::channel::<ControlRequest>(1);
    tokio::spawn(async move {
        while let Some(asked) = requests.recv().await {
            if asked.request == Request::Version {
                let _ = asked.reply.send(Response::Version(Version::default()));
            }
        }
    });
    let journal = watch::Sender::new(Journal::default());
    let streams = Streams {
        journal: journal.subscribe(),
        finished: watch::Sender::default().subscribe(),
        log: watch::Sender::default().subscribe(),
    };
    tokio::spawn(server.serve(gateway, streams))
}

/// Sends `bytes` and returns the answer.
async fn say(place: &Place, bytes: impl Into<Vec<u8>>) -> Response {
    let (socket, bytes) = (place.socket(), bytes.into());
    tokio::task::spawn_blocking(move || {
        let mut stream = BlockingStream::connect(socket).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(&bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert_eq!(answer.matches('\n').count(), 1, "one line: {answer:?}");
        serde_json::from_str(&answer).unwrap()
    })
    .await
    .unwrap()
}

fn message(response: Response) -> String {
    match response {
        Response::Error { message, .. } => message,
        other => panic!("expected an error, found {other:?}"),
    }
}

const VERSION: &[u8] = b"{\"command\":\"version\"}\n";

#[tokio::test]
async fn bad_input_is_answered_and_the_next_request_is_served() {
    let place = Place::new("bad-input");
    let _server = start(&place);
    for (bytes, expected) in [
        (b"nonsense\n".to_vec(), "not a request: expected ident"),
        (b"\xff\xfe\n".to_vec(), "not a request: "),
        (
            b"{\"command\":\"dance\"}\n".to_vec(),
            "not a request: unknown variant `dance`",
        ),
        (
            b"{\"command\":\"route-get\",\"address\":\"x\"}\n".to_vec(),
            "not a request: invalid IP address",
        ),
        (b"\n".to_vec(), "not a request: EOF"),
        (
            vec![b'x'; MAX_REQUEST_BYTES + 1],
            "the request is longer than 4096 bytes",
        ),
    ] {
        let told = message(say(&place, bytes).await);
        assert!(told.starts_with(expected), "{told}");
    }
    assert!(matches!(say(&place, VERSION).await, Response::Version(_)));
}

#[tokio::test]
async fn a_request_that_the_gateway_drops_is_answered() {
    let place = Place::new("dropped");
    let _server = start(&place);
    let told = message(say(&place, b"{\"command\":\"status\"}\n".to_vec()).await);
    assert_eq!(told, "the gateway is stopping");
}

#[tokio::test]
async fn silent_peers_do_not_keep_others_waiting() {
    let place = Place::new("silent");
    let _server = start(&place);
    let connect = || BlockingStream::connect(place.socket()).unwrap();
    let mut silent: Vec<BlockingStream> = (1..MOST_OPEN).map(|_| connect()).collect();
    let begin = tokio::time::Instant::now();
    assert!(matches!(say(&place, VERSION).await, Response::Version(_)));
    assert!(begin.elapsed() < REQUEST_PATIENCE, "{:?}", begin.elapsed());
    // One more than a user may have is told so, at once.
    silent.extend([connect(), connect()]);
    let mut last = silent.pop().unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        last.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    assert!(answer.contains("64 connections open already"), "{answer}");
    // They are told that they should speak, and then there is room again.
    let mut first = silent.remove(0);
    let told = tokio::task::spawn_blocking(move || {
        let mut told = String::new();
        first.read_to_string(&mut told).unwrap();
        told
    });
    assert!(told.await.unwrap().contains(NO_REQUEST));
    assert!(matches!(say(&place, VERSION).await, Response::Version(_)));
}

#[tokio::test]
async fn who_does_not_end_a_request_takes_the_turns_of_its_own_user_for_a_moment() {
    let place = Place::new("slow");
    let _server = start(&place);
    let slow: Vec<BlockingStream> = (0..MOST_SERVED)
        .map(|_| {
            let mut stream = BlockingStream::connect(place.socket()).unwrap();
            stream.write_all(b"{").unwrap();
            stream
        })
        .collect();
    let begin = tokio::time::Instant::now();
    assert!(matches!(say(&place, VERSION).await, Response::Version(_)));
    assert!(
        begin.elapsed() < REQUEST_PATIENCE * 2,
        "{:?}",
        begin.elapsed()
    );
    drop(slow);
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_away_with_the_server() {
    let place = Place::new("mode");
    let server = start(&place);
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    assert!(!place.socket().exists());
}

#[tokio::test]
async fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let place = Place::new("stale");
    fs::create_dir_all(&place.0).unwrap();
    drop(BlockingListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let server = Server::bind(&place.socket()).unwrap();
    let refused = Server::bind(&place.socket()).unwrap_err();
    assert!(matches!(refused, BindError::InUse(_)));
    drop(server);
    fs::write(place.socket(), "precious").unwrap();
    let refused = Server::bind(&place.socket()).unwrap_err();
    assert!(matches!(refused, BindError::NoSocket(_)));
}

#[tokio::test]
async fn a_folder_that_everybody_may_write_to_is_refused() {
    let place = Place::new("folder");
    fs::create_dir_all(&place.0).unwrap();
    fs::set_permissions(&place.0, Permissions::from_mode(0o1777)).unwrap();
    let refused = Server::bind(&place.socket()).unwrap_err().to_string();
    assert!(refused.contains("mode 1777"), "{refused}");
    assert!(refused.contains("chmod go-w"), "{refused}");
    fs::remove_dir(&place.0).unwrap();
    drop(Server::bind(&place.socket()).unwrap());
    let made = fs::metadata(&place.0).unwrap().permissions().mode();
    assert_eq!(made & 0o7777, 0o755, "others may look, and no more");
}
