//! What became of a COMMIT that was not answered.
//!
//! Each transaction writes its number into the row of its connection in `_dbm_commit`. So any primary can tell, also after a
//! crash and after a failover: the number is there, or it is not and never will be, once the old server process is gone.
//! (PostgreSQL's own `pg_xact_status` cannot: after a crash it gives the numbers of lost transactions to others.)

use std::sync::Arc;
use std::time::Duration;

use dbm_core::{Error, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connect::Identity;
use crate::connection::Conn;
use crate::server::Shared;

/// How long until it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// One COMMIT.
pub(crate) struct Commit {
    pub(crate) identity: Arc<Identity>,
    pub(crate) number: i64,
}

/// Finds out, as long as the patience lasts. `cause` is why there was no answer.
pub(crate) async fn settle(shared: &Shared, commit: &Commit, cause: Error) -> Result<()> {
    let connector = &shared.pool.connector;
    let deadline = Instant::now() + connector.settings.patience;
    let mut last = None;
    while Instant::now() < deadline {
        match connector.connect(deadline).await {
            Ok((mut conn, _)) => {
                let asked = timeout_at(deadline, ask(&mut conn, commit)).await;
                shared.pool.spawn(conn.throw_away());
                match asked {
                    Ok(Ok(true)) => return Ok(()),
                    Ok(Ok(false)) => return Err(lost(cause)),
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => break,
                }
            }
            Err(error) => last = Some(error),
        }
        sleep(PAUSE).await;
    }
    tracing::warn!(server = &*connector.name, "a commit has no answer");
    Err(Error::commit_unknown(last.unwrap_or(cause)))
}

/// It is certain that nothing was written.
fn lost(cause: Error) -> Error {
    match cause {
        Error::Disconnected { .. } => cause,
        other => Error::transaction_lost(other),
    }
}

/// Whether the transaction is committed, and so that it stays. An error if that cannot be said yet.
async fn ask(conn: &mut Conn, commit: &Commit) -> Result<bool> {
    let Identity { process, begun, id } = &*commit.identity;
    // It may still run if only the connection was lost. Whatever it does now, it holds this lock until it has done it.
    conn.command(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {process} AND backend_start = '{begun}'; \
         BEGIN ISOLATION LEVEL READ COMMITTED; {}",
        own_lock(id)
    ))
    .await?;
    let number = commit.number;
    let found = conn
        .command(&format!(
            "SELECT count(*) FROM _dbm_commit WHERE connection = '{id}' AND number >= {number}"
        ))
        .await;
    match found {
        Ok(found) if matches!(found.as_slice(), [Some(count)] if count != "0") => {}
        Ok(_) => return Ok(false),
        // The table was to come with the very transaction.
        Err(error) if error.server_state() == Some("42P01") => return Ok(false),
        Err(error) => return Err(error),
    }
    // A server that has crashed knows transactions that its standby does not have. What is committed after them, and waits for
    // the standby, is there with all before it.
    let fence = format!("UPDATE _dbm_commit SET at = now() WHERE connection = '{id}'; COMMIT");
    match conn.commit(&fence).await {
        (Ok(()), false) => Ok(true),
        (Ok(()), true) => Err(Error::other("the standby does not answer")),
        (Err(error), _) => Err(error),
    }
}

/// What a transaction takes at its beginning, so that others can wait for its end.
pub(crate) fn own_lock(connection: &str) -> String {
    format!("SELECT pg_advisory_xact_lock(hashtextextended('dbm {connection}', 0))")
}
