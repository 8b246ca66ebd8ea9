//! The status of a manager, and the tasks that wait for it to change.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::status::Status;
use crate::sync::lock;
use crate::waking::{Bell, contained};

/// Listeners are told after unlocking, and each in isolation: a `watch` channel whose receiver panics in its waker
/// wakes none of the receivers behind it. So each subscriber has a channel of its own.
pub(super) struct Announced(Mutex<State>);

struct State {
    status: Status,
    /// Keyed by order of arrival, so that the first to wait is the first to be woken.
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
                // Another thread may have announced a later status already.
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
        lock(&self.0)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Closes the channels, so that subscribers learn that no further status will come.
        for sender in take(&mut self.lock().watching) {
            contained(|| drop(sender));
        }
    }
}

/// A waiting task's place in the list. Dropping it takes the task off the list.
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
        // This drops a clone, never the last `Arc`: the `Place` still holds the bell, so the waker is dropped after
        // unlocking.
        self.announced.lock().waiting.remove(&self.number);
    }
}
