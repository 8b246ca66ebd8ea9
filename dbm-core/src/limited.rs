//! Waiting for a limited time for something that must not get lost.

use std::future::poll_fn;
use std::time::Duration;

use crate::waking::contained;

/// `None` when the time is up.
///
/// The timer owns a waker, whose drop may panic, after the wait has returned what is lost with it.
pub(crate) async fn limited<F: Future>(limit: Duration, wait: F) -> Option<F::Output> {
    let mut wait = Box::pin(tokio::time::timeout(limit, wait));
    let output = poll_fn(|context| wait.as_mut().poll(context)).await;
    contained(|| drop(wait));
    output.ok()
}
