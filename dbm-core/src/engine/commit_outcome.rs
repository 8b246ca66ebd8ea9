//! How a transaction ended, for every call that is part of it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use crate::after_commit::Ticket;
use crate::error::{Error, Result};
use crate::sync::lock;
use crate::tables::Tables;
use crate::waking::contained;

/// Smaller than a `Notify`: the outcome is told once, so a waker never has to be taken off the list.
#[derive(Default)]
pub(crate) struct CommitOutcome {
    result: OnceLock<Result<()>>,
    wakers: Mutex<Vec<Waker>>,
}

/// The followers of a batch, and what its members have promised to run after its commit. If dropped without an outcome,
/// the followers learn that no commit will come.
#[derive(Default)]
pub(crate) struct Followers {
    outcome: Option<Arc<CommitOutcome>>,
    /// Mostly there is none, so followers are small.
    aftermath: Option<Box<Aftermath>>,
    /// Members may have written anything: while there are no live reads, nothing is recorded.
    unrecorded: bool,
    /// How many calls' work the transaction has.
    pub(crate) members: u64,
}

/// What members of a batch have left for the time after its commit.
#[derive(Default)]
pub(crate) struct Aftermath {
    pub(crate) promises: Vec<Ticket>,
    /// What they have written, for live reads.
    pub(crate) written: Tables,
}

/// A transaction that has ended. Dropping it tells the followers and so wakes tasks: it must not be dropped under a
/// lock.
#[must_use]
pub(crate) struct FinishedBatch {
    followers: Followers,
    pub(crate) result: Result<()>,
}

impl Followers {
    pub(crate) fn is_empty(&self) -> bool {
        self.outcome.is_none()
    }

    pub(crate) fn join(&mut self) -> Arc<CommitOutcome> {
        Arc::clone(self.outcome.get_or_insert_default())
    }

    /// What a member has left. Without `recorded` it may have written anything.
    pub(crate) fn leave(&mut self, aftermath: Option<Box<Aftermath>>, recorded: bool) {
        self.members += 1;
        self.unrecorded |= !recorded;
        match (&mut self.aftermath, aftermath) {
            (_, None) => {}
            (Some(before), Some(more)) => {
                before.promises.extend(more.promises);
                before.written.add_all_of(&more.written);
            }
            (none, more) => *none = more,
        }
    }

    fn tell(&mut self, result: Result<()>) {
        if let Some(outcome) = self.outcome.take() {
            let _ = outcome.result.set(result);
            let wakers = std::mem::take(&mut *outcome.wakers());
            for waker in wakers {
                // A waker that panics must not keep the others from being woken.
                contained(|| waker.wake());
            }
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        if !self.is_empty() {
            self.tell(Err(Error::HandleEnded));
        }
    }
}

impl FinishedBatch {
    pub(crate) fn new(followers: Followers, result: Result<()>) -> Self {
        Self { followers, result }
    }

    /// Has the promises of a transaction that is durable kept, by the runner. All others are taken back.
    pub(crate) fn keep_promises(&mut self) {
        let Some(aftermath) = &mut self.followers.aftermath else {
            return;
        };
        let promises = std::mem::take(&mut aftermath.promises);
        if self.result.is_ok() {
            promises.into_iter().for_each(Ticket::committed);
        }
    }

    /// What is now in the file, as far as one knows.
    pub(crate) fn take_written(&mut self) -> Tables {
        match &self.result {
            Ok(()) if self.followers.unrecorded => Tables::All,
            Ok(()) => {
                let aftermath = self.followers.aftermath.as_mut();
                aftermath.map_or_else(Tables::default, |left| std::mem::take(&mut left.written))
            }
            Err(Error::CommitUnknown { .. }) => Tables::All,
            Err(_) => Tables::default(),
        }
    }

    pub(crate) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }
}

impl Drop for FinishedBatch {
    fn drop(&mut self) {
        self.followers.tell(self.result.clone());
    }
}

impl CommitOutcome {
    pub(crate) fn is_told(&self) -> bool {
        self.result.get().is_some()
    }

    /// Waits for the outcome.
    pub(crate) fn told(&self) -> impl Future<Output = Result<()>> {
        let mut place = None;
        poll_fn(move |context| self.poll(&mut place, context))
    }

    /// `place` is the index of this follower's waker in the list.
    fn poll(&self, place: &mut Option<usize>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(result) = self.result.get() {
            return Poll::Ready(result.clone());
        }
        // The waker is cloned and the old one dropped outside of the lock, because both run an executor's code.
        let waker = context.waker().clone();
        let mut wakers = self.wakers();
        // `tell` sets the result before it takes the list. So this waker is either in that list, or the result is
        // visible here.
        if let Some(result) = self.result.get() {
            let result = result.clone();
            drop(wakers);
            return Poll::Ready(result);
        }
        let old = match place.and_then(|place| wakers.get_mut(place)) {
            Some(old) => Some(std::mem::replace(old, waker)),
            None => {
                *place = Some(wakers.len());
                wakers.push(waker);
                None
            }
        };
        drop(wakers);
        contained(|| drop(old));
        Poll::Pending
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        lock(&self.wakers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    use super::*;
    use crate::test_support::{run, starts};

    /// The waker of a task that owns the followers: dropping it ends the transaction.
    struct Owns(#[expect(dead_code, reason = "it is dropped")] Mutex<Followers>);

    impl Wake for Owns {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_that_is_replaced_may_end_the_transaction_with_its_drop() {
        run(async {
            let mut followers = Followers::default();
            let outcome = followers.join();
            let owner = Waker::from(Arc::new(Owns(Mutex::new(followers))));
            let mut follower = Box::pin(outcome.told());
            starts(follower.as_mut(), &owner);
            drop(owner);
            starts(follower.as_mut(), Waker::noop());
            assert!(matches!(follower.await, Err(Error::HandleEnded)));
        });
    }

    /// Reports whether the list of wakers is unlocked at the time of the wake.
    struct Looks(Arc<CommitOutcome>, Sender<bool>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let is_free = self.0.wakers.try_lock().is_ok();
            self.1.send(is_free).unwrap();
        }
    }

    #[test]
    fn followers_are_woken_outside_of_the_lock() {
        run(async {
            let mut followers = Followers::default();
            let outcome = followers.join();
            let (sender, was_free) = channel();
            let looks = Waker::from(Arc::new(Looks(Arc::clone(&outcome), sender)));
            let mut follower = Box::pin(outcome.told());
            starts(follower.as_mut(), &looks);
            followers.tell(Ok(()));
            assert!(was_free.recv().unwrap());
        });
    }
}
