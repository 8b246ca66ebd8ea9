//! A time limit for a wait whose result must not be lost.

use std::future::poll_fn;
use std::time::Duration;

use crate::waking::contained;

/// `None` if the time ran out.
///
/// The timer holds a waker, and dropping a waker may panic. If that happened after the wait had returned, its output
/// would be lost, so the drop is contained.
pub(crate) async fn limited<F: Future>(limit: Duration, wait: F) -> Option<F::Output> {
    let mut wait = Box::pin(tokio::time::timeout(limit, wait));
    let output = poll_fn(|context| wait.as_mut().poll(context)).await;
    contained(|| drop(wait));
    output.ok()
}
