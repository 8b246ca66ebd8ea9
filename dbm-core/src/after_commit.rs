//! Futures that run after the commit of the transaction that has promised them.
//!
//! The future goes to its manager's runner at once: a task that runs one after the other. The transaction keeps a [`Ticket`],
//! which says how the transaction ended. So nothing of the program is run or dropped where a transaction ends, which is
//! under locks.

use std::any::Any;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::error::{Error, Result};
use crate::panicked::{caught, panicked};
use crate::sync::lock;
use crate::unique_id::next_id;
use crate::waking::contained;

tokio::task_local! {
    /// The manager and the method that the current task works for, after a commit.
    static RUNS_FOR: (u64, &'static str);
}

/// The method whose future the current task runs after a commit of this manager.
pub(crate) fn runs_for(manager: u64) -> Option<&'static str> {
    RUNS_FOR
        .try_with(|(of, method)| (*of == manager).then_some(*method))
        .ok()
        .flatten()
}

/// Runs a future that is counted as a call of a manager: what it calls passes the gate with it.
#[cfg(feature = "jobs")]
pub(crate) fn as_part_of<F: Future>(
    manager: u64,
    method: &'static str,
    future: F,
) -> impl Future<Output = F::Output> {
    RUNS_FOR.scope((manager, method), future)
}

/// Counts a future as a call, so that the manager does not close before it has ended.
pub(crate) trait Admits: Send + Sync {
    /// Asked while a call is inside the gate.
    fn admit(self: Arc<Self>) -> Box<dyn Any + Send>;
}

/// What runs after the commits of one manager.
#[derive(Default)]
pub(crate) struct AfterCommit {
    manager: OnceLock<(u64, Weak<dyn Admits>)>,
    runner: Mutex<Runner>,
}

#[derive(Default)]
enum Runner {
    /// Nothing was promised yet.
    #[default]
    None,
    Running(UnboundedSender<Message>, AbortHandle),
    /// `close_within` has ended it.
    Shut,
}

enum Message {
    Promised(u64, Promise),
    Committed(u64),
    Undone(u64),
}

struct Promise {
    method: &'static str,
    future: Foreign,
    _admitted: Box<dyn Any + Send>,
}

/// A future of the program, `None` once it is dropped.
///
/// Its panic in a `Drop` stays here. The runner may be dropped with many of them, and a second panic while the first one is
/// under way would end the process.
struct Foreign(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Drop for Foreign {
    fn drop(&mut self) {
        let future = self.0.take();
        contained(|| drop(future));
    }
}

/// A transaction's promise of a future. Dropped, it says that the work was undone.
pub(crate) struct Ticket {
    committed: bool,
    promised: Promised,
}

enum Promised {
    Future {
        id: u64,
        method: &'static str,
        runner: UnboundedSender<Message>,
    },
    /// The library's own: it needs no runner.
    #[cfg(feature = "jobs")]
    Ring(Arc<dyn Rings>),
}

/// Something that is told of a commit.
#[cfg(feature = "jobs")]
pub(crate) trait Rings: Send + Sync {
    /// Called where a transaction ends, so it only wakes a task.
    fn ring(&self);
}

impl AfterCommit {
    /// Without this, as in the model of a drift check, nothing ever runs.
    pub(crate) fn run_for(&self, manager: u64, admits: Weak<dyn Admits>) {
        let _ = self.manager.set((manager, admits));
    }

    /// Promises to run a future on behalf of a call that is inside the gate. `None` if nothing is ever run here.
    pub(crate) fn promise(
        &self,
        method: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Option<Ticket>> {
        let Some((manager, admits)) = self.manager.get() else {
            return Ok(None);
        };
        let admits = admits.upgrade().ok_or(Error::Closed { method })?;
        let runtime = Handle::try_current().map_err(|_| Error::Runtime {
            message: "after_commit was called outside of a runtime",
        })?;
        let promise = Promise {
            method,
            future: Foreign(Some(Box::pin(RUNS_FOR.scope((*manager, method), future)))),
            _admitted: admits.admit(),
        };
        let id = next_id();
        let runner = self.runner(&runtime).ok_or(Error::Closed { method })?;
        runner
            .send(Message::Promised(id, promise))
            .map_err(|_| Error::Closed { method })?;
        Ok(Some(Ticket {
            committed: false,
            promised: Promised::Future { id, method, runner },
        }))
    }

    /// The runner, started again if its runtime is gone.
    fn runner(&self, runtime: &Handle) -> Option<UnboundedSender<Message>> {
        let mut runner = self.lock();
        match &*runner {
            Runner::Shut => None,
            Runner::Running(sender, _) if !sender.is_closed() => Some(sender.clone()),
            Runner::Running(..) | Runner::None => {
                let (sender, receiver) = unbounded_channel();
                let task = runtime.spawn(run(receiver)).abort_handle();
                *runner = Runner::Running(sender.clone(), task);
                Some(sender)
            }
        }
    }

    /// Ends what runs, and what would run.
    pub(crate) fn shut(&self) {
        let runner = std::mem::replace(&mut *self.lock(), Runner::Shut);
        if let Runner::Running(_, task) = runner {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runner> {
        lock(&self.runner)
    }
}

impl Ticket {
    /// Rings after the commit.
    #[cfg(feature = "jobs")]
    pub(crate) fn ring(bell: Arc<dyn Rings>) -> Self {
        Self {
            committed: false,
            promised: Promised::Ring(bell),
        }
    }

    /// The work is durable. The futures of several tickets run in the order of these calls.
    pub(crate) fn committed(mut self) {
        self.committed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &self.promised {
            Promised::Future { id, method, runner } => {
                let message = if self.committed {
                    Message::Committed
                } else {
                    Message::Undone
                };
                if runner.send(message(*id)).is_err() && self.committed {
                    contained(|| {
                        warn!(method, "its runtime is gone: nothing runs after its commit");
                    });
                }
            }
            #[cfg(feature = "jobs")]
            Promised::Ring(bell) => {
                if self.committed {
                    bell.ring();
                }
            }
        }
    }
}

async fn run(mut messages: UnboundedReceiver<Message>) {
    let mut promises = HashMap::new();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Promised(id, promise) => {
                promises.insert(id, promise);
            }
            Message::Committed(id) => {
                if let Some(promise) = promises.remove(&id) {
                    promise.keep().await;
                }
            }
            Message::Undone(id) => drop(promises.remove(&id)),
        }
    }
}

impl Promise {
    async fn keep(mut self) {
        let Some(future) = &mut self.future.0 else {
            return;
        };
        if let Err(panic) = caught(future).await {
            let method = self.method;
            let error = panicked(method, &*panic);
            contained(|| error!(method, %error, "after its commit"));
            contained(|| drop(panic));
        }
    }
}
