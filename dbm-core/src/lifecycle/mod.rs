//! From `Starting` to `Stopped`. Only this folder changes a manager's status.

mod back_up;
#[expect(
    clippy::disallowed_methods,
    reason = "it changes the status, and tells of it"
)]
mod close;
mod create;
#[expect(clippy::disallowed_methods, reason = "it tells of drift")]
mod drift;
mod foreign_keys;
#[expect(clippy::disallowed_methods, reason = "it tells of a migration")]
mod migrate;
#[expect(clippy::disallowed_methods, reason = "it looks at the file first")]
mod prepare;
mod restore;
#[cfg(feature = "remote")]
#[expect(
    clippy::disallowed_methods,
    reason = "it has the task that closes the connections, and tells of a start"
)]
mod server;
#[cfg(feature = "signal")]
mod signal;
#[expect(
    clippy::disallowed_methods,
    reason = "it has the one task, changes the status, and tells of it"
)]
mod start;
mod verify;
mod version_row;

pub use back_up::BackUp;
pub(crate) use close::{close, close_within};
pub use restore::restore;
#[cfg(feature = "signal")]
pub(crate) use signal::close_on_signal;
pub use start::Start;
pub(crate) use start::ensure_ready;
pub(crate) use verify::verify;
pub(crate) use version_row::{get_version, update_version};

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::call::body::{self, BodyOutcome};
use crate::call::lease::{FileLease, Lease};
use crate::call::site::Site;
use crate::engine::{Access, Engine, inside_of, unless_inside};
use crate::error::{Error, Result};
use crate::frame::{AnyFrame, Frame};
use crate::gate::Gate;
use crate::panicked::panicked;
use crate::status::Status;
use crate::waking::contained;

/// Runs a step of start-up in a write transaction of its own. Commits if the step returns true.
async fn in_transaction(
    gate: &Gate,
    engine: &Arc<Engine>,
    site: &'static Site,
    step: impl AsyncFnOnce(&Arc<Frame>) -> Result<bool>,
) -> Result<bool> {
    let lease = FileLease::take_writer(gate, engine, site, Access::Write, None, true).await?;
    let frame = Arc::clone(&lease.frame);
    commit_if(Lease::File(lease), site, async || step(&frame).await).await
}

/// Commits if the step returns true.
async fn commit_if(
    mut lease: Lease<'_>,
    site: &'static Site,
    step: impl AsyncFnOnce() -> Result<bool>,
) -> Result<bool> {
    let failure = match body::run(&mut lease, site, async |_| step().await).await {
        BodyOutcome::Returned(Ok(true)) => return lease.keep(site).await.map(|()| true),
        BodyOutcome::Returned(Ok(false)) => return lease.undo(site).await.map(|()| false),
        BodyOutcome::Returned(Err(error)) | BodyOutcome::TimedOut(error) => error,
        BodyOutcome::Panicked(panic) => panicked(site.method, &*panic),
    };
    let _ = lease.undo(site).await;
    Err(failure)
}

/// Refuses an operation that waits for calls to end, if it is made from inside one.
fn not_from_inside(gate: &Gate, operation: &'static str) -> Result<()> {
    let frame = AnyFrame::of_manager(gate.id).map(|frame| frame.method());
    match frame.or_else(|| inside_of(gate.id)) {
        Some(method) => Err(Error::FromInside { operation, method }),
        None => Ok(()),
    }
}

/// Waits for a start, until `close` stops it.
async fn unless_given_up<T>(gate: &Gate, start: impl Future<Output = Result<T>>) -> Result<T> {
    let (mut start, mut given_up) = (pin!(start), pin!(gate.given_up()));
    poll_fn(|context| match start.as_mut().poll(context) {
        Poll::Pending => given_up
            .as_mut()
            .poll(context)
            .map(|()| Err(Error::Closed { method: "start" })),
        ready => ready,
    })
    .await
}

/// Waits for a status. Refused if this thread is inside of a statement, which would wait as well.
async fn reached(gate: &Gate, operation: &'static str, is_it: fn(Status) -> bool) -> Result<()> {
    let wait = pin!(async {
        gate.reached(is_it).await;
        Ok(())
    });
    let refused = |method| Error::FromInside { operation, method };
    unless_inside(|| inside_of(gate.id), wait, refused).await
}

/// Emits an event. A subscriber that panics must not keep a manager from starting or closing.
fn tell(event: impl FnOnce()) {
    contained(event);
}
