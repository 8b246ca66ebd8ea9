//! The end of a transaction, told to all who have a part in it.

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::Writer;
use super::queue::UNCLAIMED;
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Ending {
    result: OnceLock<Result<()>>,
    told: Notify,
}

/// Those who wait for a commit. Dropped untold, they learn that it will not come.
#[derive(Default)]
pub(super) struct Members(Option<Arc<Ending>>);

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
        let watched = writer.is_watched();
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            if watched {
                told.await;
            } else if Box::pin(tokio::time::timeout(UNCLAIMED, told))
                .await
                .is_err()
            {
                writer.go_on_without_holder();
            }
        }
    }
}
