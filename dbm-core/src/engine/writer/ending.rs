//! The end of a transaction, told to all who have a part in it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::Writer;
use super::queue::UNCLAIMED;
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Ending {
    result: OnceLock<Result<()>>,
    told: Notify,
    /// One of those who wait sees to it that nobody waits for ever.
    watched: AtomicBool,
}

/// Those who wait for a commit. Dropped untold, they learn that it will not come.
#[derive(Default)]
pub(super) struct Members(Option<Arc<Ending>>);

struct Watch<'a>(&'a Ending);

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
            ending.told.notify_waiters();
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
        let mut watch = None;
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            watch = watch.or_else(|| self.watch());
            if watch.is_none() {
                told.await;
            } else if Box::pin(tokio::time::timeout(UNCLAIMED, told))
                .await
                .is_err()
            {
                writer.go_on_without_holder();
            }
        }
    }

    fn watch(&self) -> Option<Watch<'_>> {
        let watched = self.watched.swap(true, Ordering::AcqRel);
        (!watched).then(|| Watch(self))
    }
}

/// Whoever goes away leaves the watch to another.
impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Release);
        if self.0.result.get().is_none() {
            self.0.told.notify_waiters();
        }
    }
}
