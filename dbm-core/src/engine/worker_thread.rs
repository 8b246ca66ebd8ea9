//! A thread for work that would block a runtime worker: a tokio-rusqlite thread, started when first needed.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::error::{Error, Result};
use crate::waking::contained;

/// Jobs run one after the other, in the order in which they were posted.
#[derive(Debug, Default)]
pub(crate) struct WorkerThread(Mutex<ThreadState>);

#[derive(Debug, Default)]
enum ThreadState {
    #[default]
    NotStarted,
    Running(tokio_rusqlite::Connection),
    Closed,
}

impl WorkerThread {
    /// Hands over a job and does not wait. The job runs even if no caller waits for it any more.
    ///
    /// A panic in the job is contained. Fails if the worker thread is closed or the system cannot start a thread; then
    /// the job is dropped.
    pub(crate) fn post(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = self.start()?;
        let contained = move |_: &mut rusqlite::Connection| {
            contained(job);
        };
        // The first poll sends the job; its answer is not needed.
        let call = pin!(thread.call_raw(contained));
        let _ = call.poll(&mut Context::from_waker(Waker::noop()));
        Ok(())
    }

    /// Accepts no further job. The thread ends after those it has.
    pub(crate) fn close(&self) {
        let thread = std::mem::replace(&mut *self.state(), ThreadState::Closed);
        drop(thread);
    }

    /// Ends the thread once it has done its jobs. The next job starts another one.
    pub(crate) fn rest(&self) {
        let _ = self.rest_if(|| true);
    }

    /// The same, if `is_idle` is true while no thread can be started. False if the thread runs on.
    pub(crate) fn rest_if(&self, is_idle: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        if matches!(*state, ThreadState::Running(_)) {
            if !is_idle() {
                return false;
            }
            *state = ThreadState::NotStarted;
        }
        true
    }

    /// Starts the thread if there is none yet. It has no connection of its own: the jobs bring theirs.
    pub(crate) fn start(&self) -> Result<tokio_rusqlite::Connection> {
        let mut state = self.state();
        match &*state {
            ThreadState::Running(thread) => return Ok(thread.clone()),
            ThreadState::Closed => return Err(Error::HandleEnded),
            ThreadState::NotStarted => {}
        }
        let unused = rusqlite::Connection::open_in_memory()?;
        let thread = catch_unwind(AssertUnwindSafe(|| {
            tokio_rusqlite::Connection::from(unused)
        }))
        .map_err(|_| {
            Error::io(
                "thread",
                std::io::Error::other("the system has no thread to give"),
            )
        })?;
        *state = ThreadState::Running(thread.clone());
        Ok(thread)
    }

    fn state(&self) -> MutexGuard<'_, ThreadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_panic_does_not_end_the_lane_and_order_is_kept() {
        let worker = WorkerThread::default();
        let (sender, receiver) = mpsc::channel();
        for number in 0..10 {
            let sender = sender.clone();
            worker
                .post(move || {
                    sender.send(number).unwrap();
                    assert!(number % 2 == 0, "contained");
                })
                .unwrap();
        }
        let got: Vec<i32> = (0..10)
            .map(|_| receiver.recv_timeout(Duration::from_secs(10)).unwrap())
            .collect();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
    }
}
