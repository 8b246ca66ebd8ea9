//! The status gate: calls wait while the manager starts, run while it runs, and are refused afterwards.

use std::any::Any;
use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, watch};

use crate::after_commit::{self, Admits};
use crate::announced::Announced;
use crate::database::Database;
use crate::engine::{Engine, SchemaDump, inside_of, unless_inside, waits_for_itself};
use crate::error::{Error, Result};
use crate::live::LiveReads;
use crate::sharded::thread_number;
use crate::status::Status;
use crate::sync::lock;
use crate::timer::Sleep;
use crate::turnstile::Turnstile;
use crate::unique_id::next_id;

pub(crate) struct Gate {
    pub(crate) id: u64,
    /// Closed by `close`; from then on it refuses calls.
    turnstile: Turnstile,
    status: Announced,
    pub(crate) live: Arc<LiveReads>,
    /// The result of start-up, set once.
    database: OnceLock<Result<Database>>,
    give_up: Notify,
    /// What is to be checked once, a while after the start or at `close`. Whoever takes it runs it.
    check: Mutex<Option<LaterCheck>>,
    /// Makes the schema that the database should have. Set once, if anybody wants to know.
    expected_schema: OnceLock<ExpectedSchema>,
    /// Called when the last call has left after `close`.
    drained: fn(&Arc<Gate>),
}

/// A check of a running manager. With a token, that call keeps the connections open.
pub(crate) type Check =
    Box<dyn FnOnce(Option<CallToken<'static>>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A check, and the wait at whose end a task takes it.
struct LaterCheck {
    check: Check,
    _wait: Sleep,
}

/// Makes the schema that `init_db` makes, somewhere else.
pub(crate) type ExpectedSchema =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<SchemaDump>> + Send>> + Send + Sync>;

/// A call that has passed the gate. The connections stay open as long as there is one.
pub(crate) struct CallToken<'a> {
    gate: Cow<'a, Arc<Gate>>,
    /// The shard that counted the call in also counts it out, so no shard goes below zero.
    thread: usize,
}

impl Gate {
    pub(crate) fn new(drained: fn(&Arc<Gate>)) -> Arc<Self> {
        Arc::new(Self {
            id: next_id(),
            turnstile: Turnstile::default(),
            status: Announced::new(Status::Starting),
            live: Arc::default(),
            database: OnceLock::new(),
            give_up: Notify::new(),
            check: Mutex::default(),
            expected_schema: OnceLock::new(),
            drained,
        })
    }

    /// Counts a call in, unless the manager is closing.
    pub(crate) fn enter(self: &Arc<Self>, method: &'static str) -> Result<CallToken<'_>> {
        let token = CallToken::new(Cow::Borrowed(self), thread_number());
        if !self.is_closing() || after_commit::runs_for(self.id).is_some() {
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
    pub(crate) async fn database(&self, method: &'static str) -> Result<&Database> {
        if self.database.get().is_none() {
            let started = pin!(async {
                self.started().await;
                Ok(())
            });
            let statement = || inside_of(self.id);
            let refused = |holder| waits_for_itself(method, holder);
            unless_inside(statement, started, refused).await?;
        }
        match self.database.get() {
            Some(Ok(database)) => Ok(database),
            Some(Err(cause)) => Err(Error::Failed {
                method,
                cause: cause.clone().cause(),
            }),
            None => Err(Error::Closed { method }),
        }
    }

    /// The same, for what only a file of SQLite has.
    pub(crate) async fn engine(&self, method: &'static str) -> Result<&Arc<Engine>> {
        match self.database(method).await? {
            Database::File(engine) => Ok(engine),
            #[cfg(feature = "remote")]
            Database::Server(_) => Err(crate::server::refused(method)),
        }
    }

    /// Waits until start-up has succeeded or failed.
    pub(crate) async fn started(&self) {
        self.reached(|status| status != Status::Starting).await;
    }

    /// Waits for a status that `is_it` accepts.
    pub(crate) async fn reached(&self, is_it: impl Fn(Status) -> bool) {
        self.status.reached(is_it).await;
    }

    /// The result of start-up, once there is one.
    pub(crate) fn answer(&self) -> Option<&Result<Database>> {
        self.database.get()
    }

    /// Stops a start-up that is still running.
    pub(crate) fn give_up(&self) {
        self.give_up.notify_one();
    }

    pub(crate) async fn given_up(&self) {
        self.give_up.notified().await;
    }

    pub(crate) fn set_answer(&self, answer: Result<Database>) {
        if answer.is_err() {
            self.live.close();
        }
        let _ = self.database.set(answer);
    }

    /// `wait` is to have somebody take the check.
    pub(crate) fn set_check(&self, check: Check, wait: Sleep) {
        *lock(&self.check) = Some(LaterCheck { check, _wait: wait });
    }

    pub(crate) fn take_check(&self) -> Option<Check> {
        let later = lock(&self.check).take();
        later.map(|later| later.check)
    }

    pub(crate) fn set_expected_schema(&self, expected: ExpectedSchema) {
        let _ = self.expected_schema.set(expected);
    }

    pub(crate) fn expected_schema(&self) -> Option<&ExpectedSchema> {
        self.expected_schema.get()
    }

    pub(crate) fn status(&self) -> Status {
        self.status.status()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.watch()
    }

    /// Moves the status forward; it never goes back.
    pub(crate) fn advance(&self, to: Status) {
        self.status.advance(to);
    }

    /// Refuses new calls.
    pub(crate) fn begin_closing(self: &Arc<Self>) {
        // Holds a token while closing, so that no call can be the last to leave before the status has changed.
        let token = CallToken::new(Cow::Borrowed(self), thread_number());
        self.turnstile.close();
        if self.status() == Status::Running {
            self.advance(Status::Stopping);
        }
        drop(token);
        self.live.close();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.turnstile.is_closed()
    }
}

impl Admits for Gate {
    fn admit(self: Arc<Self>) -> Box<dyn Any + Send> {
        Box::new(CallToken::new(Cow::Owned(self), thread_number()))
    }
}

impl<'a> CallToken<'a> {
    fn new(gate: Cow<'a, Arc<Gate>>, thread: usize) -> Self {
        gate.turnstile.enter(thread);
        Self { gate, thread }
    }

    /// The same call, with its own handle on the gate.
    pub(crate) fn into_owned(self) -> CallToken<'static> {
        CallToken::new(Cow::Owned(Arc::clone(&self.gate)), self.thread)
    }
}

impl Drop for CallToken<'_> {
    fn drop(&mut self) {
        let gate = &*self.gate;
        if gate.turnstile.leave(self.thread) {
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

    /// Threads with one number would share a cache line.
    #[test]
    fn every_thread_has_a_number_of_its_own() {
        let here = thread_number();
        assert_eq!(here, thread_number());
        let there = std::thread::scope(|scope| scope.spawn(thread_number).join().unwrap());
        assert_ne!(here, there);
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
