//! Waking tasks. What a waker does when it is cloned, woken or dropped is an executor's code: it may panic, drop its task
//! or another one, and call back into this crate. So none of it runs under a lock, and its panic reaches nobody else.

use std::future::poll_fn;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Runs foreign code whose panic is not the caller's. True when it panicked.
///
/// Not only for the sake of whoever called: what a function is about to return is leaked when a destructor that runs then
/// panics (rust-lang/rust#47949).
pub(crate) fn contained(foreign: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(foreign)) {
        Ok(()) => false,
        Err(panic) => {
            // What was thrown may panic again when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            true
        }
    }
}

/// Tells one task of something. It may be rung before that task listens, and again afterwards.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let listener = {
            let mut state = self.lock();
            state.rung = true;
            state.listener.take()
        };
        if let Some(listener) = listener {
            contained(|| listener.wake());
        }
    }

    /// Waits until it is rung; for one task at a time.
    pub(crate) async fn heard(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let listener = context.waker().clone();
        let mut state = self.lock();
        let rung = take(&mut state.rung);
        let old = if rung {
            state.listener.take()
        } else {
            state.listener.replace(listener)
        };
        drop(state);
        contained(|| drop(old));
        if rung { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let listener = self.lock().listener.take();
        contained(|| drop(listener));
    }
}
