//! From Starting to Stopped: the only place that changes a manager's status.

#[expect(
    clippy::disallowed_methods,
    reason = "it changes the status, and tells of it"
)]
mod close;
mod create;
#[expect(clippy::disallowed_methods, reason = "it tells of drift")]
mod drift;
#[expect(clippy::disallowed_methods, reason = "it tells of a migration")]
mod migrate;
#[expect(clippy::disallowed_methods, reason = "it looks at the file first")]
mod prepare;
#[expect(
    clippy::disallowed_methods,
    reason = "it has the one task, changes the status, and tells of it"
)]
mod start;
mod version_row;

pub(crate) use close::{close, close_within};
pub(crate) use start::{Start, ensure_ready};
pub(crate) use version_row::{get_version, update_version};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::call::body::{self, BodyOutcome};
use crate::call::failure::panicked;
use crate::call::lease::Lease;
use crate::call::site::Site;
use crate::engine::{Access, Engine};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::gate::Gate;

/// Runs a step of start-up in a write transaction of its own: kept when it answers true.
async fn in_transaction(
    gate: &Gate,
    engine: &Arc<Engine>,
    site: &'static Site,
    step: impl AsyncFnOnce(&Arc<Frame>) -> Result<bool>,
) -> Result<bool> {
    let mut lease = Lease::write(gate, engine, site, Access::Write, None, true).await?;
    let frame = Arc::clone(&lease.frame);
    let failure = match body::run(&frame, site, step(&frame)).await {
        BodyOutcome::Returned(Ok(true)) => return lease.keep(site).await.map(|()| true),
        BodyOutcome::Returned(Ok(false)) => return lease.undo(site).await.map(|()| false),
        BodyOutcome::Returned(Err(error)) | BodyOutcome::TimedOut(error) => error,
        BodyOutcome::Panicked(panic) => panicked(site.method, &*panic),
    };
    let _ = lease.undo(site).await;
    Err(failure)
}

/// Lifecycle operations that wait for calls to end cannot be made from inside one.
fn not_from_inside(gate: &Gate, operation: &'static str) -> Result<()> {
    Frame::of_manager(gate.id).map_or(Ok(()), |frame| {
        Err(Error::FromInside {
            operation,
            method: frame.method,
        })
    })
}

/// Tells of something. A listener that panics keeps nobody from starting or closing.
fn tell(event: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(event));
}
