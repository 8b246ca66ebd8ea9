//! Waking tasks. Cloning, waking or dropping a waker runs an executor's code. That code may panic, drop its task or
//! another one, and call back into this crate. So it never runs under a lock, and its panic never reaches another
//! caller.

use std::future::poll_fn;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, MutexGuard, lock};

/// Runs foreign code and contains its panic. True if it panicked.
///
/// The caller needs this too: if a destructor panics while a function returns, the function's return value is leaked
/// (rust-lang/rust#47949).
pub(crate) fn contained(foreign: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(foreign)) {
        Ok(()) => false,
        Err(panic) => {
            // The panic's payload may panic as well when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            true
        }
    }
}

/// Signals one task. It may ring before the task listens, and may ring again.
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

    /// Waits for the next ring. Only one task may wait at a time.
    pub(crate) async fn heard(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
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
        lock(&self.0)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let listener = self.lock().listener.take();
        contained(|| drop(listener));
    }
}
