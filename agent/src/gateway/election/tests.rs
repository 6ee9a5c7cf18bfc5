use super::*;

const A: LinkId = LinkId(1);
const B: LinkId = LinkId(2);
const C: LinkId = LinkId(3);
const HOLD: Duration = Duration::from_secs(5);
const UP: Health = Health {
    up: true,
    standby: false,
    drained: false,
};
const DOWN: Health = Health { up: false, ..UP };
const STANDBY: Health = Health {
    standby: true,
    ..UP
};
const DRAINED: Health = Health {
    drained: true,
    ..UP
};

struct Scene {
    election: Election,
    now: Instant,
}

impl Scene {
    /// A at 100, B and C at 50, all up.
    fn new() -> Self {
        let now = crossway_sys::clock::now();
        let mut election = Election::new(HOLD);
        for (link, priority) in [(A, 100), (B, 50), (C, 50)] {
            election.set(link, priority);
            election.on_health(link, UP, now);
        }
        Self { election, now }
    }

    fn say(&mut self, link: LinkId, health: Health) -> Vec<Vec<LinkId>> {
        self.election.on_health(link, health, self.now);
        self.look()
    }

    fn look(&mut self) -> Vec<Vec<LinkId>> {
        self.election.poll(self.now);
        self.election.ranks()
    }

    fn wait(&mut self, time: Duration) -> Vec<Vec<LinkId>> {
        self.now += time;
        self.look()
    }
}

#[test]
fn the_highest_priority_that_is_up_leads_and_equals_share() {
    let mut scene = Scene::new();
    assert_eq!(scene.look(), [vec![A], vec![B, C]]);
    assert_eq!(scene.say(A, DOWN), [vec![B, C]]);
    assert_eq!(scene.say(B, DOWN), [vec![C]]);
    assert_eq!(
        scene.say(C, DOWN),
        [vec![A], vec![B, C]],
        "with none up, all may come back first"
    );
}

#[test]
fn a_link_that_comes_back_waits_for_its_hold_down_unless_it_is_the_only_one() {
    let mut scene = Scene::new();
    scene.say(A, DOWN);
    assert_eq!(scene.say(A, UP), [vec![B, C], vec![A]]);
    assert_eq!(scene.election.next_timeout(), Some(scene.now + HOLD));
    assert_eq!(scene.wait(HOLD / 2), [vec![B, C], vec![A]]);
    assert_eq!(scene.wait(HOLD / 2), [vec![A], vec![B, C]]);
    for link in [A, B, C] {
        scene.say(link, DOWN);
    }
    assert_eq!(scene.say(B, UP), [vec![B]]);
    assert_eq!(scene.election.held_for(B, scene.now), None);
}

#[test]
fn a_flapping_link_is_held_down_longer_each_time_and_never_carries_flows_between() {
    let mut scene = Scene::new();
    let mut held = Vec::new();
    for _ in 0..8 {
        scene.say(A, DOWN);
        scene.wait(Duration::from_secs(2));
        assert_eq!(scene.say(A, UP)[0], [B, C]);
        held.push(scene.election.held_for(A, scene.now).unwrap().as_secs());
        assert_eq!(scene.wait(Duration::from_secs(2))[0], [B, C]);
    }
    assert_eq!(held, [5, 10, 20, 40, 80, 160, 160, 160]);
    assert_eq!(scene.wait(HOLD * 40)[0], [A], "it is forgiven in the end");
    scene.wait(HOLD * 10);
    scene.say(A, DOWN);
    scene.say(A, UP);
    assert_eq!(scene.election.held_for(A, scene.now), Some(HOLD));
}

#[test]
fn a_standby_gateway_is_used_where_there_is_no_other() {
    let mut scene = Scene::new();
    assert_eq!(scene.say(A, STANDBY), [vec![B, C], vec![A]]);
    assert_eq!(
        scene.say(A, UP)[0],
        [A],
        "at once: nothing was wrong with it"
    );
    scene.say(A, STANDBY);
    scene.say(B, DOWN);
    assert_eq!(scene.say(C, DOWN), [vec![A]]);
}

#[test]
fn a_drained_link_carries_flows_only_where_all_are_drained() {
    let mut scene = Scene::new();
    assert_eq!(scene.say(A, DRAINED), [vec![B, C]]);
    assert_eq!(
        scene.say(A, UP)[0],
        [A],
        "a link that was up all the time is not held down"
    );
    for link in [A, B, C] {
        scene.say(link, DRAINED);
    }
    assert_eq!(
        scene.look(),
        [vec![A], vec![B, C]],
        "until others have turned elsewhere"
    );
}

#[test]
fn what_a_person_prefers_leads_while_it_is_up_and_what_is_promoted_until_it_goes_down() {
    let mut scene = Scene::new();
    scene.election.prefer(C, true);
    assert_eq!(scene.look(), [vec![C], vec![A], vec![B]]);
    scene.say(C, DOWN);
    assert_eq!(scene.say(C, UP)[0], [A], "it is held down like any other");
    scene.election.promote(&[C]);
    assert_eq!(scene.look()[0], [C], "a promotion ends the hold-down");
    scene.election.prefer(C, false);
    assert_eq!(scene.look()[0], [C]);
    scene.election.promote(&[B]);
    assert_eq!(scene.look(), [vec![B], vec![A], vec![C]]);
    scene.say(B, DOWN);
    scene.say(B, UP);
    assert_eq!(scene.wait(HOLD), [vec![A], vec![B, C]]);
}

#[test]
fn ranks_are_told_once_for_each_change() {
    let mut scene = Scene::new();
    assert!(scene.election.poll(scene.now).is_some());
    assert_eq!(scene.election.poll(scene.now), None);
    scene.election.on_health(A, UP, scene.now);
    assert_eq!(scene.election.poll(scene.now), None, "nothing has changed");
    scene.election.set(B, 200);
    assert_eq!(scene.election.poll(scene.now).unwrap()[0], [B]);
    assert!(!scene.election.remove(A));
    assert!(!scene.election.remove(B));
    assert!(scene.election.remove(C));
    assert_eq!(scene.election.poll(scene.now), Some(vec![]));
}
