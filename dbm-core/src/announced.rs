//! The status, and everybody who wants to know of it.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::status::Status;
use crate::waking::{Bell, contained};

/// They are told outside of the lock, and each apart from the others: a `watch` channel wakes none of its receivers
/// after one whose waker panics, so each who watches has a channel of its own.
pub(super) struct Announced(Mutex<State>);

struct State {
    status: Status,
    /// By the number of their place, first come, first told.
    waiting: BTreeMap<u64, Arc<Bell>>,
    places: u64,
    watching: Vec<watch::Sender<Status>>,
}

impl Announced {
    pub(super) fn new(status: Status) -> Self {
        Self(Mutex::new(State {
            status,
            waiting: BTreeMap::new(),
            places: 0,
            watching: Vec::new(),
        }))
    }

    pub(super) fn status(&self) -> Status {
        self.lock().status
    }

    /// Moves the status forward; it never goes back.
    pub(super) fn advance(&self, to: Status) {
        let mut state = self.lock();
        if state.status >= to || state.status == Status::Stopped {
            return;
        }
        state.status = to;
        let (waiting, watching) = (take(&mut state.waiting), state.watching.clone());
        drop(state);
        for bell in waiting.values() {
            bell.ring();
        }
        for sender in watching {
            contained(|| {
                // Another thread may have told of the next one already.
                sender.send_if_modified(|status| {
                    let forward = *status < to;
                    *status = to.max(*status);
                    forward
                });
            });
        }
    }

    pub(super) async fn reached(&self, is_it: impl Fn(Status) -> bool) {
        loop {
            let place = {
                let mut state = self.lock();
                if is_it(state.status) {
                    return;
                }
                Place::enter(self, &mut state)
            };
            place.bell.heard().await;
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        let mut state = self.lock();
        state.watching.retain(|sender| !sender.is_closed());
        let (sender, receiver) = watch::channel(state.status);
        state.watching.push(sender);
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Whoever watches learns that there is nothing more to come.
        for sender in take(&mut self.lock().watching) {
            contained(|| drop(sender));
        }
    }
}

/// One who waits. Dropped, it is not told any more.
struct Place<'a> {
    announced: &'a Announced,
    number: u64,
    bell: Arc<Bell>,
}

impl<'a> Place<'a> {
    fn enter(announced: &'a Announced, state: &mut State) -> Self {
        let bell = Arc::<Bell>::default();
        let number = state.places;
        state.places += 1;
        state.waiting.insert(number, Arc::clone(&bell));
        Self {
            announced,
            number,
            bell,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Not the last one: its waker is dropped outside of the lock.
        self.announced.lock().waiting.remove(&self.number);
    }
}
