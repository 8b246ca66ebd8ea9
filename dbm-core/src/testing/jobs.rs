//! Jobs that a test runs itself, by a clock of its own.

use std::sync::Arc;
use std::time::SystemTime;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::job_board::JobBoard;
use crate::jobs::{Kinds, run_due};
use crate::manager::DbManager;

/// Runs every job that is due, one after the other, including those that these enqueue, and returns how many runs there
/// were. A run that fails counts, too; the job waits for its next attempt.
///
/// Give the manager no workers of its own, so that nothing else runs its jobs.
///
/// ```
/// use dbm_core::prelude::*;
/// use dbm_core::testing;
/// use std::time::{Duration, SystemTime};
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0", jobs(remind))]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE told (text TEXT NOT NULL) STRICT").await
/// #     }
/// # }
///
/// impl Store {
///     #[database_safe]
///     async fn remind_at(&self, db: &mut WriteTransaction, text: String, time: SystemTime) -> Result<()> {
///         db.enqueue_at(Store::remind_job(text), time).await.map(drop)
///     }
///
///     #[job]
///     #[database_safe]
///     async fn remind(&self, db: &mut WriteTransaction, text: String) -> Result<()> {
///         db.execute("INSERT INTO told VALUES (?1)", (text,)).await.map(drop)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory().job_workers(0)).await?;
/// let evening = SystemTime::now() + Duration::from_secs(8 * 3_600);
/// store.remind_at("Water the plants".into(), evening).await?;
/// assert_eq!(testing::run_due_jobs(&store).await?, 0);
///
/// testing::set_clock(&store, evening)?;
/// assert_eq!(testing::run_due_jobs(&store).await?, 1);
/// # store.close().await }
/// ```
///
/// # Errors
///
/// As any call; what a job returns is not among them. [`Error::Refused`] for a manager that lists no jobs.
///
/// # Cancel safety
///
/// Dropped, it leaves the running job claimed until the manager is closed.
pub async fn run_due_jobs<M: DbManager + 'static>(manager: &Arc<M>) -> Result<usize> {
    manager.ensure_ready().await?;
    let kinds = Kinds::new(M::__jobs(), M::__core);
    run_due(manager, kinds, board(manager)?).await
}

/// Sets the clock by which the jobs of this manager are due. It goes on from there. No other clock is changed.
///
/// # Errors
///
/// [`Error::Refused`] for a manager that lists no jobs, or does not run.
pub fn set_clock<M: DbManager>(manager: &Arc<M>, time: SystemTime) -> Result<()> {
    board(manager)?.set_clock(time);
    Ok(())
}

fn board<M: DbManager>(manager: &Arc<M>) -> Result<&Arc<JobBoard>> {
    let answer = manager.__core().gate().answer();
    let database = answer.and_then(|answer| answer.as_ref().ok());
    database.and_then(Database::jobs).ok_or(Error::Refused {
        what: "a clock of jobs",
        why: "the manager lists none, or does not run",
    })
}
