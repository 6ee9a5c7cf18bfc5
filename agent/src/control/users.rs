//! How much of the control socket one user may hold: nobody keeps another from asking. A connection that has said
//! nothing yet costs a descriptor and no more; the agent's own user and root have room of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one user that are open at once; more are told so, and closed.
pub(super) const MOST_OPEN: usize = 64;
/// Of these, requests that are served at once; the others wait their turn.
pub(super) const MOST_SERVED: usize = 8;
/// Readers of one user that follow the events at once: a paused one keeps its place.
pub(super) const MOST_FOLLOWERS: usize = 8;
/// Connections of all members of the control group. A service has 1024 descriptors where nobody says otherwise.
const MOST_OF_MEMBERS: usize = 4 * MOST_OPEN;

/// Who is connected.
#[derive(Debug)]
pub(super) struct Users {
    by_id: Mutex<HashMap<u32, Arc<User>>>,
    members: Arc<Semaphore>,
    own: u32,
}

/// One user's room.
#[derive(Debug)]
struct User {
    open: Arc<Semaphore>,
    served: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Visit {
    user: Arc<User>,
    uid: u32,
    _open: OwnedSemaphorePermit,
    _of_members: Option<OwnedSemaphorePermit>,
}

impl Users {
    /// Nobody yet; `own` is the agent's user.
    pub(super) fn new(own: u32) -> Self {
        Self {
            by_id: Mutex::default(),
            members: Arc::new(Semaphore::new(MOST_OF_MEMBERS)),
            own,
        }
    }

    /// Lets a connection of `uid` in.
    ///
    /// # Errors
    /// What the user is told instead.
    pub(super) fn enter(&self, uid: u32) -> Result<Visit, String> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, user| Arc::strong_count(user) > 1);
        let user = Arc::clone(by_id.entry(uid).or_insert_with(|| Arc::new(User::new())));
        let open = Arc::clone(&user.open).try_acquire_owned().map_err(|_| {
            format!("uid {uid} has {MOST_OPEN} connections open already: close some of them")
        })?;
        let is_member = uid != 0 && uid != self.own;
        let of_members = is_member.then(|| Arc::clone(&self.members).try_acquire_owned());
        let of_members = of_members.transpose().map_err(|_| {
            format!("{MOST_OF_MEMBERS} connections are open already: close some of them")
        })?;
        Ok(Visit {
            user,
            uid,
            _open: open,
            _of_members: of_members,
        })
    }
}

impl User {
    fn new() -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        Self {
            open: room(MOST_OPEN),
            served: room(MOST_SERVED),
            followers: room(MOST_FOLLOWERS),
        }
    }
}

impl Visit {
    /// The turn of a request, once the user has few enough others.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.user.served).acquire_owned().await.ok()
    }

    /// A place among those that follow the events.
    ///
    /// # Errors
    /// What the user is told instead.
    pub(super) fn follow(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = Arc::clone(&self.user.followers).try_acquire_owned();
        place.map_err(|_| {
            let uid = self.uid;
            format!(
                "{MOST_FOLLOWERS} readers of uid {uid} already follow the events: stop one of them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 990;

    #[test]
    fn nobody_takes_the_place_of_another() {
        let users = Users::new(OWN);
        let enter = |uid| users.enter(uid);
        let greedy: Vec<Visit> = (0..MOST_OPEN).map(|_| enter(1000).unwrap()).collect();
        let refused = enter(1000).unwrap_err();
        assert!(
            refused.starts_with("uid 1000 has 64 connections open already"),
            "{refused}"
        );
        let others: Vec<Visit> = [1001, OWN, 0].map(|uid| enter(uid).unwrap()).into();
        drop(greedy);
        assert!(enter(1000).is_ok());
        drop(others);
        assert!(users.by_id.lock().unwrap().len() <= 4);
        drop(enter(0).unwrap());
        assert_eq!(
            users.by_id.lock().unwrap().len(),
            1,
            "who has gone is forgotten"
        );
    }

    #[test]
    fn all_members_together_leave_room_for_root_and_the_agents_own_user() {
        let users = Users::new(OWN);
        let mut members = Vec::new();
        let refused = loop {
            match users.enter(1000 + members.len() as u32) {
                Ok(visit) => members.push(visit),
                Err(refused) => break refused,
            }
        };
        assert_eq!(members.len(), MOST_OF_MEMBERS, "{refused}");
        for uid in [0, OWN] {
            let own: Vec<Visit> = (0..MOST_OPEN).map(|_| users.enter(uid).unwrap()).collect();
            assert!(own[0].follow().is_ok());
        }
    }

    #[test]
    fn a_user_follows_the_events_so_often_and_no_more() {
        let users = Users::new(OWN);
        let visits = [1000, 1001].map(|uid| users.enter(uid).unwrap());
        let places: Vec<_> = (0..MOST_FOLLOWERS)
            .map(|_| visits[0].follow().unwrap())
            .collect();
        let refused = visits[0].follow().unwrap_err();
        assert!(refused.contains("8 readers of uid 1000"), "{refused}");
        assert!(visits[1].follow().is_ok());
        drop(places);
        assert!(visits[0].follow().is_ok());
    }
}
