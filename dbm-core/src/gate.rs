//! The status gate: calls wait while the manager starts, run while it runs, and are refused afterwards.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, watch};

use crate::engine::{Engine, next_id};
use crate::error::{Error, Result};
use crate::sharded::{Sharded, thread_number};
use crate::status::Status;

pub(crate) struct Gate {
    pub(crate) id: u64,
    calls: Sharded,
    /// `close` was called.
    closing: AtomicBool,
    status: watch::Sender<Status>,
    /// The answer of start-up, given once.
    engine: OnceLock<Result<Arc<Engine>>>,
    give_up: Notify,
    /// What to do when the last call has left after `close`.
    drained: fn(&Arc<Gate>),
}

/// A call that has passed the gate. While there are any, the connections stay open.
pub(crate) struct CallToken<'a> {
    gate: Cow<'a, Arc<Gate>>,
    /// Where it was counted in, and will be counted out: no shard is ever less than zero.
    thread: usize,
}

impl Gate {
    pub(crate) fn new(drained: fn(&Arc<Gate>)) -> Arc<Self> {
        Arc::new(Self {
            id: next_id(),
            calls: Sharded::default(),
            closing: AtomicBool::new(false),
            status: watch::Sender::new(Status::Starting),
            engine: OnceLock::new(),
            give_up: Notify::new(),
            drained,
        })
    }

    /// Counts a call in, unless the manager is closing.
    pub(crate) fn enter(self: &Arc<Self>, method: &'static str) -> Result<CallToken<'_>> {
        let token = CallToken::new(Cow::Borrowed(self), thread_number());
        if !self.is_closing() {
            return Ok(token);
        }
        Err(match self.answer() {
            Some(Err(cause)) => Error::Failed {
                method,
                cause: cause.clone().cause(),
            },
            _ => Error::Closed { method },
        })
    }

    /// Waits until the manager runs.
    pub(crate) async fn engine(&self, method: &'static str) -> Result<&Arc<Engine>> {
        if self.engine.get().is_none() {
            self.started().await;
        }
        match self.engine.get() {
            Some(Ok(engine)) => Ok(engine),
            Some(Err(cause)) => Err(Error::Failed {
                method,
                cause: cause.clone().cause(),
            }),
            None => Err(Error::Closed { method }),
        }
    }

    /// Waits until start-up has ended, one way or the other.
    pub(crate) async fn started(&self) {
        // The sender lives as long as this gate: waiting cannot fail.
        let _ = self
            .status
            .subscribe()
            .wait_for(|status| *status != Status::Starting)
            .await;
    }

    /// The answer of start-up, the same every time.
    pub(crate) fn answer(&self) -> Option<&Result<Arc<Engine>>> {
        self.engine.get()
    }

    /// Ends a start-up that is still under way.
    pub(crate) fn give_up(&self) {
        self.give_up.notify_one();
    }

    pub(crate) async fn given_up(&self) {
        self.give_up.notified().await;
    }

    pub(crate) fn set_answer(&self, answer: Result<Arc<Engine>>) {
        let _ = self.engine.set(answer);
    }

    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Moves the status forward; it never goes back.
    pub(crate) fn advance(&self, to: Status) {
        self.status.send_if_modified(|status| {
            let forward = *status < to && *status != Status::Stopped;
            if forward {
                *status = to;
            }
            forward
        });
    }

    /// Refuses new calls.
    pub(crate) fn begin_closing(self: &Arc<Self>) {
        // Counted in for a moment: nobody is the last to leave before the status says so.
        let token = CallToken::new(Cow::Borrowed(self), thread_number());
        self.closing.store(true, Ordering::SeqCst);
        if self.status() == Status::Running {
            self.advance(Status::Stopping);
        }
        drop(token);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

impl<'a> CallToken<'a> {
    fn new(gate: Cow<'a, Arc<Gate>>, thread: usize) -> Self {
        gate.calls.of(thread).fetch_add(1, Ordering::SeqCst);
        Self { gate, thread }
    }

    /// Keeps the gate as well.
    pub(crate) fn into_owned(self) -> CallToken<'static> {
        CallToken::new(Cow::Owned(Arc::clone(&self.gate)), self.thread)
    }
}

impl Drop for CallToken<'_> {
    fn drop(&mut self) {
        let gate = &*self.gate;
        gate.calls.of(self.thread).fetch_sub(1, Ordering::SeqCst);
        // Of those who leave after `close`, the last one finds nobody in any shard.
        if gate.is_closing() && gate.calls.sum() == 0 {
            (gate.drained)(gate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_of_when_the_last_call_of_any_thread_has_left() {
        let gate = Gate::new(|gate| gate.advance(Status::Stopped));
        let enter = || gate.enter("a").unwrap().into_owned();
        let mut calls: Vec<_> = std::thread::scope(|scope| {
            let threads = [(); 12].map(|()| scope.spawn(enter));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        gate.begin_closing();
        assert!(gate.enter("too late").is_err());
        while let Some(call) = calls.pop() {
            assert_ne!(gate.status(), Status::Stopped);
            drop(call);
        }
        assert_eq!(gate.status(), Status::Stopped);
    }

    #[test]
    fn no_call_is_overlooked_when_all_threads_come_and_go() {
        let gate = Gate::new(|gate| gate.advance(Status::Stopped));
        let busy = std::sync::Barrier::new(5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    busy.wait();
                    while let Ok(call) = gate.enter("a") {
                        assert_ne!(gate.status(), Status::Stopped);
                        drop(call);
                    }
                });
            }
            busy.wait();
            gate.begin_closing();
        });
        assert_eq!(gate.status(), Status::Stopped);
    }
}
