//! A thread for work that would block a runtime worker: a tokio-rusqlite thread, started when first needed.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Waker};

use crate::error::{Error, Result};
use crate::sync::lock;
use crate::waking::contained;

/// Jobs run one after the other, in the order in which they were posted.
#[derive(Debug, Default)]
pub(crate) struct WorkerThread {
    state: Mutex<ThreadState>,
    /// Whether there is a thread, for those who do not want to wait for the lock. Written under it.
    exists: AtomicBool,
}

#[derive(Debug, Default)]
enum ThreadState {
    #[default]
    NotStarted,
    Running {
        thread: tokio_rusqlite::Connection,
        /// A job was posted since the last [`WorkerThread::rest`].
        used: bool,
    },
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
        let mut state = self.state();
        let thread = std::mem::replace(&mut *state, ThreadState::Closed);
        self.exists.store(false, Ordering::Relaxed);
        drop(state);
        drop(thread);
    }

    /// Ends the thread if it got no job since the last call of this, and `is_idle`. The next job starts another one. False
    /// if the thread runs on.
    pub(crate) fn rest(&self, is_idle: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        if let ThreadState::Running { used, .. } = &mut *state {
            // No job can be posted meanwhile: that takes the same lock.
            if std::mem::take(used) || !is_idle() {
                return false;
            }
            *state = ThreadState::NotStarted;
            self.exists.store(false, Ordering::Relaxed);
        }
        true
    }

    /// Whether there is a thread. It may have been started or ended by the time the answer is used.
    pub(crate) fn exists(&self) -> bool {
        self.exists.load(Ordering::Relaxed)
    }

    /// Starts the thread if there is none yet. It has no connection of its own: the jobs bring theirs.
    pub(crate) fn start(&self) -> Result<tokio_rusqlite::Connection> {
        let mut state = self.state();
        match &mut *state {
            ThreadState::Running { thread, used } => {
                *used = true;
                return Ok(thread.clone());
            }
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
        *state = ThreadState::Running {
            thread: thread.clone(),
            used: true,
        };
        self.exists.store(true, Ordering::Relaxed);
        Ok(thread)
    }

    fn state(&self) -> MutexGuard<'_, ThreadState> {
        lock(&self.state)
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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "another thread posts meanwhile")]
    fn a_job_that_comes_while_the_thread_ends_is_not_lost() {
        const JOBS: usize = 2_000;
        let worker = WorkerThread::default();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            let posts = scope.spawn(|| {
                for number in 0..JOBS {
                    let sender = sender.clone();
                    worker.post(move || sender.send(number).unwrap()).unwrap();
                }
            });
            while !posts.is_finished() {
                worker.rest(|| true);
            }
        });
        let limit = Duration::from_secs(10);
        let ran = (0..JOBS).map(|_| receiver.recv_timeout(limit).unwrap());
        assert_eq!(ran.sum::<usize>(), JOBS * (JOBS - 1) / 2);
        while !worker.rest(|| true) {}
        assert!(matches!(*worker.state(), ThreadState::NotStarted));
    }
}
