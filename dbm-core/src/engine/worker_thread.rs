//! A thread for work that would block a runtime worker. It is started when first needed, and ends when it has had nothing to
//! do for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process_thread::start_thread;
use crate::waking::contained;

/// The thread ends after this long without a job.
const IDLE: Duration = Duration::from_millis(500);

/// Jobs run one after the other, in the order in which they were posted.
#[derive(Default)]
pub(crate) struct WorkerThread(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals a job, or the close.
    news: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    runs: bool,
    closed: bool,
}

impl WorkerThread {
    /// Hands over a job and does not wait. The job runs even if no caller waits for it any more.
    ///
    /// A panic in the job is contained. Fails if the worker thread is closed or the system cannot start a thread; then
    /// the job is dropped.
    pub(crate) fn post(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let job = Box::new(job);
        let mut state = self.started()?;
        state.jobs.push_back(job);
        drop(state);
        self.0.news.notify_one();
        Ok(())
    }

    /// Whether a posted job will run. Starts the thread if there is none.
    pub(crate) fn start(&self) -> Result<()> {
        self.started().map(drop)
    }

    /// Accepts no further job. The thread ends after those it has.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.0.news.notify_one();
    }

    fn started(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Error::HandleEnded);
        }
        if !state.runs {
            let shared = Arc::clone(&self.0);
            state.runs = start_thread("dbm-worker", move || shared.run());
        }
        if state.runs {
            Ok(state)
        } else {
            let none = std::io::Error::other("the system has no thread to give");
            Err(Error::io("thread", none))
        }
    }
}

/// The thread ends after the jobs it has.
impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                contained(job);
                state = self.lock();
            }
            let mut is_idle = state.closed;
            if !is_idle {
                let woken = self.news.wait_timeout(state, IDLE);
                let (woken, paused) = woken.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                is_idle = paused.timed_out() || state.closed;
            }
            if is_idle && state.jobs.is_empty() {
                // Under the lock: the next job starts another thread.
                state.runs = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

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
            .map(|_| receiver.recv_timeout(LIMIT).unwrap())
            .collect();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
    }

    /// Waits until the thread has ended. It holds a reference as long as it runs.
    fn ended(shared: &Arc<Shared>) {
        let began = std::time::Instant::now();
        while Arc::strong_count(shared) > 2 {
            assert!(began.elapsed() < LIMIT, "it still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_without_a_job_ends_and_the_next_job_starts_another() {
        let worker = WorkerThread::default();
        let shared = Arc::clone(&worker.0);
        let (sender, receiver) = mpsc::channel();
        for number in 0..2 {
            let sender = sender.clone();
            worker.post(move || sender.send(number).unwrap()).unwrap();
            assert_eq!(receiver.recv_timeout(LIMIT), Ok(number));
            ended(&shared);
            assert!(!shared.lock().runs);
        }
    }

    #[test]
    fn jobs_posted_before_the_close_run_and_later_ones_are_refused() {
        let worker = WorkerThread::default();
        let shared = Arc::clone(&worker.0);
        let (sender, receiver) = mpsc::channel();
        for number in 0..100 {
            let sender = sender.clone();
            worker.post(move || sender.send(number).unwrap()).unwrap();
        }
        worker.close();
        assert!(matches!(worker.post(|| ()), Err(Error::HandleEnded)));
        assert!(worker.start().is_err());
        let got: Vec<i32> = (0..100)
            .map(|_| receiver.recv_timeout(LIMIT).unwrap())
            .collect();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        ended(&shared);
    }
}
