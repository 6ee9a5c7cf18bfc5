use std::time::Duration;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::lane::FromLanes;

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap()
}

/// So many lanes, whose queues lead nowhere: the other ends are kept for as long.
struct Ground {
    lanes: Lanes,
    _from_lanes: FromLanes,
    _ends: Vec<UnixDatagram>,
}

impl Ground {
    fn of(count: usize) -> Self {
        let (to_control, from_lanes) = ToControl::new();
        let mut ends = Vec::new();
        let pairs = (0..count).map(|_| {
            let (queue, end) = UnixDatagram::pair().unwrap();
            queue.set_nonblocking(true).unwrap();
            ends.push(end);
            let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            (TunQueue::taken_over(OwnedFd::from(queue), &[]), socket)
        });
        let pairs: Vec<_> = pairs.collect();
        let identity = Identity::new([7; 32]);
        let held_to = HeldTo {
            mtu: 1420,
            dscp: DscpModel::default(),
            calendar_begins: Duration::ZERO,
            policy: LanePolicy::new(&crossway_policy::Policy::default()),
        };
        Self {
            lanes: Lanes::start("none", pairs, &identity, held_to, &to_control).unwrap(),
            _from_lanes: from_lanes,
            _ends: ends,
        }
    }

    /// All lanes answer.
    fn assert_well(&mut self) {
        let runtime = runtime();
        let answered = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(5), self.lanes.refresh()).await
        });
        answered.expect("every lane answers").unwrap();
        self.lanes.ended().unwrap();
    }

    /// Stops all lanes and starts all again but one, which hangs from then on.
    fn hang(&mut self, number: usize) -> Parked {
        let mut parked = self.lanes.park().unwrap();
        let mut hangs = Parked::none_of(parked.count);
        hangs.lanes.push(parked.lanes.remove(number));
        hangs.seats.push(parked.seats.remove(number));
        parked.resume().unwrap();
        hangs
    }
}

#[test]
fn lanes_that_were_stopped_go_on() {
    let mut ground = Ground::of(3);
    ground.assert_well();
    for _ in 0..20 {
        let parked = ground.lanes.park().unwrap();
        assert_eq!(parked.lanes().len(), 3);
        parked.resume().unwrap();
        ground.assert_well();
    }
    assert_eq!(ground.lanes.stop(), Vec::<String>::new());
}

#[test]
fn a_lane_that_does_not_stop_leaves_all_lanes_running() {
    for hangs in 0..3 {
        let mut ground = Ground::of(3);
        let hanging = ground.hang(hangs);
        let started = clock::now();
        let error = ground.lanes.park().unwrap_err().to_string();
        assert_eq!(error, format!("lane {hangs} did not stop within 1s"));
        assert!(started.elapsed() < 2 * PARK_LIMIT);
        hanging.resume().unwrap();
        // It was asked to stop, and is not any more.
        ground.assert_well();
        let parked = ground.lanes.park().unwrap();
        assert_eq!(parked.lanes().len(), 3);
        parked.resume().unwrap();
        ground.assert_well();
    }
}

#[test]
fn several_lanes_that_do_not_stop_have_one_deadline_together() {
    let mut ground = Ground::of(4);
    let parked = ground.lanes.park().unwrap();
    let started = clock::now();
    let error = ground.lanes.park().unwrap_err().to_string();
    assert_eq!(error, "lanes 0, 1, 2, 3 did not stop within 1s");
    assert!(started.elapsed() < 2 * PARK_LIMIT);
    parked.resume().unwrap();
    ground.assert_well();
}

#[test]
fn lanes_go_on_whatever_the_way_out_of_a_hand_over_is() {
    let mut ground = Ground::of(2);
    drop(ground.lanes.park().unwrap());
    ground.assert_well();
    let fell = catch_unwind(AssertUnwindSafe(|| {
        let _parked = ground.lanes.park().unwrap();
        panic!("in the middle");
    }));
    assert!(fell.is_err());
    ground.assert_well();
}

#[test]
fn a_lane_that_has_ended_does_not_take_the_others_along() {
    let mut ground = Ground::of(3);
    let (told, drops) = channel();
    ground.lanes.running[1]
        .handle
        .send(Command::Stop(told))
        .unwrap();
    drops.recv_timeout(Duration::from_secs(5)).unwrap();
    let error = ground.lanes.park().unwrap_err().to_string();
    assert_eq!(error, "lane 1 has ended");
    assert!(
        ground.lanes.ended().is_err(),
        "and the gateway with it, by itself"
    );
    let runtime = runtime();
    for number in [0, 2] {
        let snapshot = ground.lanes.running[number].handle.snapshot();
        assert!(runtime.block_on(snapshot).is_ok(), "lane {number}");
    }
}
