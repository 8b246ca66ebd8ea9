//! Runs a body: catches its panic, bounds its time, and notices when it waits for anything but the database.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::lease::Lease;
use super::site::Site;
use crate::error::Error;
use crate::frame::AnyFrame;
use crate::limited::limited;

/// How a body ended.
pub(crate) enum BodyOutcome<R> {
    Returned(R),
    Panicked(Box<dyn Any + Send>),
    TimedOut(Error),
}

pub(crate) async fn run<R>(
    lease: &mut Lease<'_>,
    site: &Site,
    body: impl AsyncFnOnce(AnyFrame) -> R,
) -> BodyOutcome<R> {
    // Made here, because a future that is handed over is kept twice.
    let scope = lease.frame().scope(body(lease.frame()));
    let mut body = pin!(Some(scope));
    let mut finished = std::future::poll_fn(|context| {
        let Some(running) = body.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| running.poll(context))) {
            Ok(Poll::Ready(value)) => Poll::Ready(BodyOutcome::Returned(value)),
            Err(panic) => Poll::Ready(BodyOutcome::Panicked(panic)),
            Ok(Poll::Pending) => {
                lease.body_waits(site);
                Poll::Pending
            }
        }
    });
    let ended = match site.timeout {
        None => finished.await,
        Some(limit) => match limited(limit, &mut finished).await {
            Some(ended) => ended,
            None => BodyOutcome::TimedOut(Error::Timeout {
                method: site.method,
                limit,
            }),
        },
    };
    // The body's own destructors may panic too.
    match catch_unwind(AssertUnwindSafe(|| body.set(None))) {
        Ok(()) => ended,
        Err(panic) => BodyOutcome::Panicked(panic),
    }
}
