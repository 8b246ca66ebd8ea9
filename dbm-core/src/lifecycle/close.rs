//! The end: running calls finish, then the connections are closed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::{not_from_inside, reached, tell};
use crate::after_commit::runs_for;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::limited::limited;
use crate::status::Status;

/// How long the last check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Waits for the end; dropping the wait changes nothing.
pub(crate) async fn close(gate: &Arc<Gate>) -> Result<()> {
    not_from_inside_or_after(gate, "close")?;
    let check = last_check(gate);
    gate.begin_closing();
    run(check, Duration::MAX).await;
    ended(gate, "close").await
}

pub(crate) async fn close_within(gate: &Arc<Gate>, limit: Duration) -> Result<()> {
    not_from_inside_or_after(gate, "close_within")?;
    let check = last_check(gate);
    gate.begin_closing();
    let closing = async {
        run(check, limit / 2).await;
        ended(gate, "close_within").await
    };
    if let Some(ended) = limited(limit, closing).await {
        return ended;
    }
    tell(|| {
        warn!(
            limit_ms = limit.as_millis(),
            "calls are still running, interrupting them"
        );
    });
    if gate.answer().is_none() {
        gate.give_up();
        // It may have ended at this moment, while calls wait for it.
        reached(gate, "close_within", |status| status != Status::Starting).await?;
    }
    if let Some(Ok(database)) = gate.answer() {
        database.shut();
        stop(gate, database);
    }
    ended(gate, "close_within").await
}

/// The check for which the manager has not run long enough. It holds a token, so the connections stay open meanwhile.
fn last_check(gate: &Arc<Gate>) -> Option<impl Future<Output = ()> + use<>> {
    let token = gate.enter("close").ok()?.into_owned();
    Some(gate.take_check()?(Some(token)))
}

/// Runs it beside the calls that have not ended yet.
async fn run(check: Option<impl Future<Output = ()>>, limit: Duration) {
    if let Some(check) = check
        && !limit.is_zero()
    {
        let _ = limited(limit.min(CHECK_LIMIT), check).await;
    }
}

/// What runs after a commit counts as a call: the end would wait for it.
pub(super) fn not_from_inside_or_after(gate: &Gate, operation: &'static str) -> Result<()> {
    not_from_inside(gate, operation)?;
    runs_for(gate.id).map_or(Ok(()), |method| {
        Err(Error::FromInside { operation, method })
    })
}

pub(super) async fn ended(gate: &Gate, operation: &'static str) -> Result<()> {
    let is_end = |status| matches!(status, Status::Stopped | Status::Failed);
    reached(gate, operation, is_end).await
}

/// The last call has left after `close`.
pub(crate) fn finish(gate: &Arc<Gate>) {
    let Some(Ok(database)) = gate.answer() else {
        return;
    };
    match database {
        Database::File(engine) if engine.close_at_once() => stopped(gate),
        _ => stop(gate, database),
    }
}

/// Closes the connections, after whatever still runs on the writer. Doing it twice does no harm.
fn stop(gate: &Arc<Gate>, database: &Database) {
    if gate.status() == Status::Stopped {
        return;
    }
    match database {
        Database::File(engine) => {
            let (gate, closing) = (Arc::clone(gate), Arc::clone(engine));
            engine.writer.conn.post_or_run(
                move || {
                    closing.close_tidily();
                    stopped(&gate);
                },
                drop,
            );
        }
        #[cfg(feature = "remote")]
        Database::Server(server) => {
            if !server.begin_closing() {
                stopped(gate);
            }
        }
    }
}

/// The connections are closed.
pub(super) fn stopped(gate: &Gate) {
    if gate.status() != Status::Stopped
        && let Some(Ok(database)) = gate.answer()
    {
        tell(|| info!(path = %database.label(), "database closed"));
        gate.advance(Status::Stopped);
    }
}

/// A manager that is dropped without `close`: nothing acknowledged is lost.
impl Drop for Gate {
    fn drop(&mut self) {
        self.live.close();
        if let Some(Ok(database)) = self.answer()
            && self.status() != Status::Stopped
        {
            tell(|| {
                if database.is_temporary() {
                    debug!("dropped without close");
                } else {
                    warn!(path = %database.label(), "dropped without close");
                }
            });
            database.abandon();
        }
    }
}
