//! The end of a transaction, told to all who have a part in it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Writer;
use super::queue::UNCLAIMED;
use crate::error::{Error, Result};

/// Commits that usually take no longer are waited for awake, no longer.
const QUICK: Duration = Duration::from_micros(100);

/// Leaner than a `Notify`: nobody is told twice, so there is no need to go back out of the list.
#[derive(Default)]
pub(crate) struct Ending {
    result: OnceLock<Result<()>>,
    wakers: Mutex<Vec<Waker>>,
}

/// Those who wait for a commit. Dropped untold, they learn that it will not come.
#[derive(Default)]
pub(super) struct Members(Option<Arc<Ending>>);

impl Members {
    pub(super) fn are_none(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn join(&mut self) -> Arc<Ending> {
        Arc::clone(self.0.get_or_insert_default())
    }

    pub(super) fn tell(&mut self, result: Result<()>) {
        if let Some(ending) = self.0.take() {
            let _ = ending.result.set(result);
            let wakers = std::mem::take(&mut *ending.wakers());
            for waker in wakers {
                // An executor that panics does not keep the others from being woken.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.tell(Err(Error::HandleEnded));
    }
}

impl Ending {
    pub(super) async fn wait(&self, writer: &Arc<Writer>) -> Result<()> {
        let watched = writer.is_watched();
        let mut place = None;
        let mut told = poll_fn(|context| self.poll(&mut place, context));
        if watched {
            return told.await;
        }
        loop {
            match Box::pin(tokio::time::timeout(UNCLAIMED, &mut told)).await {
                Ok(result) => return result,
                Err(_) => writer.go_on_without_holder(),
            }
        }
    }

    /// Keeps the thread looking for tasks while a quick commit is made: to wake it would take as long again.
    pub(super) async fn expect(&self, commit_time: Duration) {
        if commit_time > QUICK {
            return;
        }
        let started = Instant::now();
        while self.result.get().is_none() && started.elapsed() < QUICK {
            tokio::task::yield_now().await;
        }
    }

    /// `place` is where in the list this one's waker is.
    fn poll(&self, place: &mut Option<usize>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(result) = self.result.get() {
            return Poll::Ready(result.clone());
        }
        // Made and dropped outside of the lock: an executor's code may do anything.
        let waker = context.waker().clone();
        let mut wakers = self.wakers();
        // Who tells sets the result before it looks into the list.
        if let Some(result) = self.result.get() {
            return Poll::Ready(result.clone());
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
        drop(old);
        Poll::Pending
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    use super::super::tests::writer;
    use super::*;
    use crate::config::Config;
    use crate::test_support::{run, starts};

    /// Of a task that owns what ends the transaction.
    struct Owns(#[expect(dead_code, reason = "it is dropped")] Mutex<Members>);

    impl Wake for Owns {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_that_is_replaced_may_end_the_transaction_with_its_drop() {
        run(async {
            let writer = writer(Config::in_memory());
            let mut members = Members::default();
            let ending = members.join();
            let owner = Waker::from(Arc::new(Owns(Mutex::new(members))));
            let mut member = Box::pin(ending.wait(&writer));
            starts(member.as_mut(), &owner);
            drop(owner);
            starts(member.as_mut(), Waker::noop());
            assert!(matches!(member.await, Err(Error::HandleEnded)));
        });
    }

    /// Tells whether others may join meanwhile.
    struct Looks(Arc<Ending>, Sender<bool>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let is_free = self.0.wakers.try_lock().is_ok();
            self.1.send(is_free).unwrap();
        }
    }

    #[test]
    fn members_are_woken_outside_of_the_lock() {
        run(async {
            let writer = writer(Config::in_memory());
            let mut members = Members::default();
            let ending = members.join();
            let (sender, was_free) = channel();
            let looks = Waker::from(Arc::new(Looks(Arc::clone(&ending), sender)));
            let mut member = Box::pin(ending.wait(&writer));
            starts(member.as_mut(), &looks);
            members.tell(Ok(()));
            assert!(was_free.recv().unwrap());
        });
    }
}
