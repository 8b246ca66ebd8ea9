//! A permit for one task at a time, first come, first served. The holder passes it on after unlocking, because the next
//! task's waker may run any code.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::waking::Bell;

#[derive(Default)]
pub(crate) struct Baton {
    /// [`TAKEN`], plus [`WAITS`] for each task in the queue. While nobody waits, a change of this is all that it takes.
    /// Tasks are added and subtracted under the lock of the queue.
    state: AtomicUsize,
    /// Boxed, because most calls have one for nobody: they are small, and quickly dropped.
    queue: Mutex<Option<Box<Queue>>>,
}

const FREE: usize = 0;
const TAKEN: usize = 1;
const WAITS: usize = 2;

#[derive(Default)]
struct Queue {
    /// By order of arrival.
    waiters: BTreeMap<u64, Arc<Waiter>>,
    /// The last number given to a task.
    numbers: u64,
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
        // Acquire: the partner of the Release in `try_free`.
        let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = self.state.compare_exchange(FREE, TAKEN, order, failed);
        taken.is_ok().then(|| Held(Some(self)))
    }

    /// Whether nobody has the permit. It may be taken at once.
    pub(crate) fn is_free(&self) -> bool {
        // Acquire: the partner of the Release in `try_free`. What the last holder did is seen.
        self.state.load(Ordering::Acquire) == FREE
    }

    /// Frees the permit. False if a task waits for it.
    fn try_free(&self) -> bool {
        let (order, failed) = (Ordering::Release, Ordering::Relaxed);
        let freed = self.state.compare_exchange(TAKEN, FREE, order, failed);
        freed.is_ok()
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
        if self.try_free() {
            return;
        }
        let next = {
            let mut queue = self.lock();
            let next = queue.as_mut().and_then(|queue| queue.waiters.pop_first());
            match &next {
                Some((_, next)) => {
                    self.state.fetch_sub(WAITS, Ordering::Relaxed);
                    next.given.store(true, Ordering::Release);
                }
                // The last one has left. No other can come while the queue is locked.
                None => self.state.store(FREE, Ordering::Release),
            }
            next
        };
        if let Some((_, next)) = next {
            next.bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Queue>>> {
        lock(&self.queue)
    }
}

impl Held<'_> {
    /// Lets the permit outlive this borrow. The caller must see to it that it is [passed on](Baton::pass_on).
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Held<'_> {
    #[inline]
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
    /// 0 if it did not have to queue.
    number: u64,
    claimed: bool,
}

impl<'a> Place<'a> {
    fn enter(baton: &'a Baton) -> Self {
        let waiter = Arc::<Waiter>::default();
        let mut number = 0;
        let mut queue = baton.lock();
        // From here on, the holder looks into the queue.
        let before = baton.state.fetch_add(WAITS, Ordering::Acquire);
        if before == FREE {
            // It was freed between `try_take` and this lock, and nobody can have taken it since: it does not look free.
            baton.state.fetch_sub(WAITS - TAKEN, Ordering::Relaxed);
            waiter.given.store(true, Ordering::Relaxed);
        } else {
            let queue = queue.get_or_insert_default();
            queue.numbers += 1;
            number = queue.numbers;
            queue.waiters.insert(number, Arc::clone(&waiter));
        }
        Self {
            baton,
            waiter,
            number,
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
            let mut queue = self.baton.lock();
            let given = self.waiter.given.load(Ordering::Relaxed);
            if !given {
                if let Some(queue) = &mut *queue {
                    queue.waiters.remove(&self.number);
                }
                self.baton.state.fetch_sub(WAITS, Ordering::Relaxed);
            }
            given
        };
        if given {
            self.baton.pass_on();
        }
    }
}
