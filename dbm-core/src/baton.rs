//! A permit for one task at a time, first come, first served. The holder passes it on after unlocking, because the next
//! task's waker may run any code.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::waking::Bell;

#[derive(Default)]
pub(crate) struct Baton(Mutex<State>);

#[derive(Default)]
struct State {
    taken: bool,
    queue: VecDeque<Arc<Waiter>>,
}

#[derive(Default)]
struct Waiter {
    /// Whether this waiter has the permit. The Release store in `pass_on` pairs with the Acquire load in `take`: the
    /// next holder sees everything that the previous one did. The Relaxed accesses need no partner: they are made under
    /// the lock.
    given: AtomicBool,
    bell: Bell,
}

/// The permit. Dropping it passes it to the next in the queue.
pub(crate) struct Held<'a>(Option<&'a Baton>);

impl Baton {
    pub(crate) fn try_take(&self) -> Option<Held<'_>> {
        let was_taken = std::mem::replace(&mut self.lock().taken, true);
        (!was_taken).then(|| Held(Some(self)))
    }

    pub(crate) async fn take(&self) -> Held<'_> {
        if let Some(held) = self.try_take() {
            return held;
        }
        let mut place = Place::enter(self);
        while !place.waiter.given.load(Ordering::Acquire) {
            place.waiter.bell.heard().await;
        }
        place.claimed = true;
        Held(Some(self))
    }

    /// Passes on a permit that was [kept](Held::keep).
    pub(crate) fn pass_on(&self) {
        let next = {
            let mut state = self.lock();
            let next = state.queue.pop_front();
            match &next {
                Some(next) => next.given.store(true, Ordering::Release),
                None => state.taken = false,
            }
            next
        };
        if let Some(next) = next {
            next.bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    /// Lets the permit outlive this borrow. The caller must see to it that it is [passed on](Baton::pass_on).
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(baton) = self.0 {
            baton.pass_on();
        }
    }
}

/// A place in the queue. Dropping it leaves the queue, or passes on the permit if it was granted in the meantime.
struct Place<'a> {
    baton: &'a Baton,
    waiter: Arc<Waiter>,
    claimed: bool,
}

impl<'a> Place<'a> {
    fn enter(baton: &'a Baton) -> Self {
        let waiter = Arc::<Waiter>::default();
        let mut state = baton.lock();
        if state.taken {
            state.queue.push_back(Arc::clone(&waiter));
        } else {
            // The permit was released between `try_take` and this lock.
            state.taken = true;
            waiter.given.store(true, Ordering::Relaxed);
        }
        Self {
            baton,
            waiter,
            claimed: false,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.claimed {
            return;
        }
        let given = {
            let mut state = self.baton.lock();
            let given = self.waiter.given.load(Ordering::Relaxed);
            if !given {
                let is_other = |waiter: &Arc<Waiter>| !Arc::ptr_eq(waiter, &self.waiter);
                state.queue.retain(is_other);
            }
            given
        };
        if given {
            self.baton.pass_on();
        }
    }
}
