//! Dead letters: the jobs that have failed for good.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::enqueue::check_format;
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::engine::HELD;
use crate::error::{Error, Result};
use crate::frame::AnyFrame;
use crate::job_board::JobBoard;
use crate::manager_core::ManagerCore;
use crate::transaction::{ReadTransaction, WriteTransaction};

/// A job that has failed for good: its attempts are used up, or its arguments do not fit its method any more.
///
/// It is kept for 30 days. [`Jobs::retry`] has it run again, [`Jobs::discard`] deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadJob {
    /// What [`Jobs::retry`] and [`Jobs::discard`] take.
    pub id: JobId,
    /// The name of its method.
    pub kind: String,
    /// The arguments, a JSON array.
    pub arguments: String,
    /// How often it was run.
    pub attempts: u32,
    /// The text of the error of its last run, shortened if it is long.
    pub cause: String,
    /// When it was enqueued.
    pub enqueued: SystemTime,
    /// When it failed for good.
    pub died: SystemTime,
}

/// Names one dead job. Its text, such as `17:6c0f1b`, can be parsed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId {
    row: i64,
    /// The claim that it died of: another job may get the number of a row that was deleted.
    token: i64,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:x}", self.row, self.token)
    }
}

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(':').and_then(|(row, token)| {
            let token = u64::from_str_radix(token, 16).ok()?;
            Some(Self {
                row: row.parse().ok()?,
                token: token as i64,
            })
        });
        parsed.ok_or_else(|| {
            Error::other("this is not the id of a job: write it as `DeadJob::id` shows it")
        })
    }
}

/// The jobs of a manager, from outside: [`DbManager::jobs`](crate::DbManager::jobs).
///
/// ```
/// # use dbm_core::prelude::*;
/// # async fn f(store: &impl DbManager) -> Result<()> {
/// for job in store.jobs().dead(100).await? {
///     eprintln!("{} {}: {}", job.id, job.kind, job.cause);
///     store.jobs().retry(job.id).await?;
/// }
/// # Ok(()) }
/// ```
///
/// Its methods are calls like any other: inside a call of the same manager they join its transaction. In `init_db` and
/// `migrate_db` they fail with [`Error::FromInside`].
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a> {
    core: &'a ManagerCore,
}

type Row = (i64, i64, String, String, u32, Option<String>, i64, i64);

impl<'a> Jobs<'a> {
    pub(crate) fn of(core: &'a ManagerCore) -> Self {
        Self { core }
    }

    /// At most `limit` dead jobs, the newest first. None for a manager that lists no jobs.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Refused`] if the tables of jobs were made by a later release.
    pub async fn dead(&self, limit: usize) -> Result<Vec<DeadJob>> {
        static SITE: Site = Site::new(module_path!(), "dead");
        let sql = "SELECT id, token, kind, args, attempts, cause, enqueued, died FROM _dbm_job WHERE died IS NOT NULL
             ORDER BY died DESC, id DESC LIMIT ?1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let Some(_) = self.board().await? else {
            return Ok(Vec::new());
        };
        let rows = Call::new(&SITE, self.core)
            .on::<ReadTransaction>()
            .returning::<Result<Vec<Row>>>()
            .run(async |mut db: ReadTransaction| db.query(sql, (limit,)).await)
            .await
            .into_result()?;
        Ok(rows.into_iter().map(DeadJob::of).collect())
    }

    /// Has a dead job run again, now, with all its attempts. False if there is no such dead job, or if it is `unique` and
    /// one like it is waiting or running.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Refused`] if the tables of jobs were made by a later release.
    pub async fn retry(&self, id: JobId) -> Result<bool> {
        static SITE: Site = Site::new(module_path!(), "retry");
        let Some(board) = self.board().await? else {
            return Ok(false);
        };
        let sql = "UPDATE _dbm_job SET due = ?3, attempts = 0, died = NULL, cause = NULL
             WHERE id = ?1 AND token = ?2 AND died IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM _dbm_job AS other
                WHERE other.kind = _dbm_job.kind AND other.key = _dbm_job.key AND other.due IS NOT NULL
             )";
        let row = (id.row, id.token, board.now());
        Call::new(&SITE, self.core)
            .on::<WriteTransaction>()
            .returning::<Result<bool>>()
            .run(async |mut db: WriteTransaction| {
                let found = db.execute(sql, row).await? > 0;
                db.frame().ring_after_commit(board);
                Ok(found)
            })
            .await
            .into_result()
    }

    /// Deletes a dead job. False if there is no such dead job.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Refused`] if the tables of jobs were made by a later release.
    pub async fn discard(&self, id: JobId) -> Result<bool> {
        static SITE: Site = Site::new(module_path!(), "discard");
        let sql = "DELETE FROM _dbm_job WHERE id = ?1 AND token = ?2 AND died IS NOT NULL";
        if self.board().await?.is_none() {
            return Ok(false);
        }
        Call::new(&SITE, self.core)
            .on::<WriteTransaction>()
            .returning::<Result<bool>>()
            .run(
                async |mut db: WriteTransaction| Ok(db.execute(sql, (id.row, id.token)).await? > 0),
            )
            .await
            .into_result()
    }

    /// Lets the jobs run that [`restore`](crate::restore) has held. Returns how many there were.
    ///
    /// A backup has the jobs that waited when it was made. Some may have been done since: whoever restores decides.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Refused`] if the tables of jobs were made by a later release.
    pub async fn release(&self) -> Result<usize> {
        static SITE: Site = Site::new(module_path!(), "release");
        let Some(board) = self.board().await? else {
            return Ok(0);
        };
        let sql = "UPDATE _dbm_job SET owner = NULL WHERE owner = ?1";
        Call::new(&SITE, self.core)
            .on::<WriteTransaction>()
            .returning::<Result<usize>>()
            .run(async |mut db: WriteTransaction| {
                let released = db.execute(sql, (HELD,)).await?;
                db.frame().ring_after_commit(board);
                Ok(released)
            })
            .await
            .into_result()
    }

    async fn board(&self) -> Result<Option<Arc<JobBoard>>> {
        let gate = self.core.gate();
        // In the hooks of start-up, which this would wait for.
        if let (None, Some(frame)) = (gate.answer(), AnyFrame::of_manager(gate.id)) {
            return Err(Error::FromInside {
                operation: "jobs",
                method: frame.method(),
            });
        }
        let board = gate.database("jobs").await?.jobs().cloned();
        board.as_deref().map_or(Ok(()), check_format)?;
        Ok(board)
    }
}

impl DeadJob {
    fn of((row, token, kind, arguments, attempts, cause, enqueued, died): Row) -> Self {
        Self {
            id: JobId { row, token },
            kind,
            arguments,
            attempts,
            cause: cause.unwrap_or_default(),
            enqueued: time(enqueued),
            died: time(died),
        }
    }
}

fn time(milliseconds: i64) -> SystemTime {
    let distance = Duration::from_millis(milliseconds.unsigned_abs());
    let time = if milliseconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_be_read_as_it_is_shown() {
        for token in [0, 1, -1, i64::MIN, i64::MAX] {
            let id = JobId { row: 17, token };
            assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        }
        for text in ["", "17", "17:", ":1", "x:1", "17:x", "17:1:1"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }
}
