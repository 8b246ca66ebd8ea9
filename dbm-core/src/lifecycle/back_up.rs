//! A backup of a running manager. It counts as a call, and is made on a thread of its own.

use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::not_from_inside;
use crate::engine::{Order, Stop, WorkerThread};
use crate::error::{Error, Result};
use crate::manager_core::ManagerCore;
use crate::waking::contained;

const METHOD: &str = "back_up";

/// A backup that is made when it is awaited: [`DbManager::back_up`](crate::DbManager::back_up).
#[must_use = "nothing is copied until it is awaited"]
pub struct BackUp<'a> {
    core: &'a ManagerCore,
    order: Order,
    progress: Option<OnProgress<'a>>,
}

type OnProgress<'a> = Box<dyn FnMut(u64, u64) + Send + 'a>;

impl<'a> BackUp<'a> {
    pub(crate) fn new(core: &'a ManagerCore, to: PathBuf) -> Self {
        Self {
            core,
            order: Order {
                to,
                at_full_speed: false,
            },
            progress: None,
        }
    }

    /// Calls this with the number of pages that are copied, and the number of all of them. It runs in the task that waits
    /// for the backup, now and then, and once all are copied. The copy is checked after that.
    pub fn progress(mut self, progress: impl FnMut(u64, u64) + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Copies as fast as the disk allows. Without this the copy rests after each 256 pages, for 20 ms, so that it takes
    /// little from other calls.
    pub fn at_full_speed(mut self) -> Self {
        self.order.at_full_speed = true;
        self
    }

    async fn run(self) -> Result<()> {
        let Self {
            core,
            order,
            mut progress,
        } = self;
        let gate = core.gate();
        if gate.answer().is_none() {
            // A hook of the start.
            not_from_inside(gate, METHOD)?;
        }
        let token = gate.enter(METHOD)?.into_owned();
        let engine = Arc::clone(gate.engine(METHOD).await?);
        let stop = Arc::new(Stop::default());
        let _stops = StopOnDrop(Arc::clone(&stop));
        let (tell, mut told) = watch::channel((0, 0));
        let (sender, receiver) = oneshot::channel();
        let copy = move || {
            // A waker is code of others.
            let copied = engine.back_up(&order, &stop, |done, total| {
                contained(|| {
                    tell.send_replace((done, total));
                });
            });
            // `close` waits for this, and needs no other reference then.
            drop((engine, token));
            contained(|| drop(tell));
            contained(|| drop(sender.send(copied)));
        };
        let thread = WorkerThread::default();
        thread.post(copy)?;
        while told.changed().await.is_ok() {
            let (done, total) = *told.borrow_and_update();
            if let Some(progress) = &mut progress {
                progress(done, total);
            }
        }
        receiver.await.unwrap_or(Err(Error::HandleEnded))
    }
}

impl<'a> IntoFuture for BackUp<'a> {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for BackUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackUp")
            .field("to", &self.order.to)
            .finish_non_exhaustive()
    }
}

/// The thread goes on for a moment, and removes what it has copied.
struct StopOnDrop(Arc<Stop>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}
