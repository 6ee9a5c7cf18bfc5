use std::fs;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crossway_api::message::{ReviewState, ServiceOrder, WallClock};
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, OpenedBy};

use super::*;
use crate::test_folder::Folder;

fn settings(folder: &Path) -> Settings {
    Settings {
        database: folder.join("services.db"),
        bound: 10,
        networks: Vec::new(),
        flow_table: Some("a".to_owned()),
    }
}

/// A pass that meets a flow to 10.2.0.10:PORT/udp.
fn pass(port: u16) -> Batch {
    let key = FlowKey4 {
        local: [10, 1, 0, 10],
        remote: [10, 2, 0, 10],
        local_port: [200, 0],
        remote_port: port.to_be_bytes(),
        protocol: 17,
        ..FlowKey4::default()
    };
    let counters = FlowCounters {
        to_site_packets: 1,
        from_site_packets: 1,
        opened_by: OpenedBy::Local as u8,
        ..FlowCounters::default()
    };
    Batch {
        living: vec![(FlowKey::from(key), counters)],
        ended: Vec::new(),
        pass_began: true,
        pass_ended: true,
        clock: WallClock {
            now_ns: 1,
            unix_milliseconds: 1_800_000_000_000,
        },
        sites: std::collections::HashMap::new(),
    }
}

fn approve(service: &str) -> ServicesOrder {
    ServicesOrder {
        targets: vec![service.to_owned()],
        order: ServiceOrder::Decide {
            state: ReviewState::Approved,
        },
    }
}

struct Running {
    inbox: Sender<Message>,
    trouble: Arc<Trouble>,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let trouble = Arc::new(Trouble::default());
        let keeper = Keeper::new(settings(folder), Arc::clone(&trouble));
        let (inbox, messages) = channel();
        let thread = std::thread::spawn(move || keeper.run(&messages));
        Self {
            inbox,
            trouble,
            thread,
        }
    }

    fn ask(&self) -> ServicesReply {
        let (answered, answer) = channel();
        let to = Box::new(move |reply| answered.send(reply).unwrap());
        let request = ServicesRequest::default();
        self.inbox.send(Message::Ask(request, to)).unwrap();
        answer.recv().unwrap().unwrap()
    }

    fn order(&self, order: ServicesOrder) -> Result<ServicesOrdered, String> {
        let (answered, answer) = channel();
        let to = Box::new(move |reply| answered.send(reply).unwrap());
        let message = Message::Order(order, "uid 0".to_owned(), to);
        self.inbox.send(message).unwrap();
        answer.recv().unwrap()
    }

    fn end(self) {
        drop(self.inbox);
        self.thread.join().unwrap();
    }
}

#[test]
fn the_next_agent_waits_for_the_one_before_and_goes_on_from_what_it_kept() {
    let folder = Folder::new();
    let first = Running::start(&folder.0);
    first.inbox.send(Message::Batch(pass(53))).unwrap();
    first.order(approve("10.2.0.10:53/udp")).unwrap();
    first.inbox.send(Message::Batch(pass(123))).unwrap();
    assert!(first.ask().kept);

    let second = Running::start(&folder.0);
    second.inbox.send(Message::Batch(pass(5060))).unwrap();
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| second.ask());
        // The last word of the one before comes while somebody waits for the next.
        first.inbox.send(Message::Batch(pass(389))).unwrap();
        first.end();
        asked.join().unwrap()
    });
    let states: Vec<_> = asked
        .services
        .iter()
        .map(|it| (it.port, it.state))
        .collect();
    let unreviewed = ReviewState::Unreviewed;
    assert_eq!(
        states,
        [
            (53, ReviewState::Approved),
            (123, unreviewed),
            (389, unreviewed),
            (5060, unreviewed)
        ]
    );
    assert!(asked.kept && second.trouble.warnings().is_empty());
    second.end();
}

#[test]
fn a_database_that_cannot_be_made_is_a_warning_and_no_order_is_lost_silently() {
    let folder = Folder::new();
    let deep = folder.0.join("no/such");
    let keeper = Running::start(&deep);
    keeper.inbox.send(Message::Batch(pass(53))).unwrap();
    let reply = keeper.ask();
    assert!(!reply.kept && reply.services.len() == 1, "{reply:?}");
    let refused = keeper.order(approve("10.2.0.10:53/udp")).unwrap_err();
    assert!(
        refused.starts_with("nothing was changed: it cannot be kept in"),
        "{refused}"
    );
    let [warning] = keeper.trouble.warnings().try_into().unwrap();
    assert!(warning.contains("its folder must be there"), "{warning}");
    // It is made, and what was seen until then is kept.
    fs::create_dir_all(&deep).unwrap();
    let trouble = Arc::clone(&keeper.trouble);
    keeper.end();
    assert!(trouble.warnings().is_empty(), "{:?}", trouble.warnings());
    let next = Running::start(&deep);
    assert_eq!(next.ask().services.len(), 1);
    next.end();
}

/// On this thread, so that the test says when something is due.
fn opened(folder: &Path) -> (Keeper, Arc<Trouble>) {
    let trouble = Arc::new(Trouble::default());
    let mut keeper = Keeper::new(settings(folder), Arc::clone(&trouble));
    keeper.handle(Message::Batch(pass(53)));
    keeper.do_what_is_due(clock::now());
    assert!(keeper.store.is_some());
    keeper.order(&approve("10.2.0.10:53"), "uid 0").unwrap();
    (keeper, trouble)
}

fn kept_states(folder: &Path) -> Vec<ReviewState> {
    let next = Running::start(folder);
    let states = next.ask().services.iter().map(|it| it.state).collect();
    next.end();
    states
}

#[test]
fn a_file_that_is_removed_is_written_anew_with_all_that_was_decided() {
    let folder = Folder::new();
    let (mut keeper, trouble) = opened(&folder.0);
    fs::remove_file(&keeper.settings.database).unwrap();
    keeper.due = clock::now();
    keeper.do_what_is_due(clock::now());
    assert!(trouble.warnings().is_empty());
    drop(keeper);
    assert_eq!(kept_states(&folder.0), [ReviewState::Approved]);
}

#[test]
fn a_file_that_is_damaged_while_it_is_open_is_put_aside_and_loses_no_decision() {
    let folder = Folder::new();
    let (mut keeper, trouble) = opened(&folder.0);
    let file = keeper.settings.database.clone();
    fs::write(&file, vec![0x5a; 40_960]).unwrap();
    keeper.handle(Message::Batch(pass(123)));
    keeper.due = clock::now();
    keeper.do_what_is_due(clock::now());
    let [warning] = trouble.warnings().try_into().unwrap();
    assert!(
        warning.contains("was damaged, and another was begun"),
        "{warning}"
    );
    let (_, rest) = warning.split_once("the damaged file is ").unwrap();
    let aside = PathBuf::from(rest.split(": ").next().unwrap());
    assert!(fs::read(&aside).unwrap() == vec![0x5a; 40_960]);
    fs::remove_file(aside).unwrap();
    assert!(trouble.warnings().is_empty());
    drop(keeper);
    assert_eq!(
        kept_states(&folder.0),
        [ReviewState::Approved, ReviewState::Unreviewed]
    );
}
