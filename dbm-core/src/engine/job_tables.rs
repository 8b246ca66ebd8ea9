//! The tables of jobs: how they are made, and what the end of a manager writes to them.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{Error, Result};

/// The format that this release reads and writes.
const FORMAT: i64 = 1;

/// `owner` is the worker that runs the job. 0: that worker's process has ended meanwhile, and perhaps because of this job.
/// [`HELD`]: a restore holds it.
/// `due` is NULL once the job is dead. `token` is the number of the newest claim.
///
/// `Engine::read_schema` looks for two words in every definition. They must not be in these, not even in a comment.
#[cfg(feature = "jobs")]
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS _dbm_format (part TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
    CREATE TABLE _dbm_job (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        args TEXT NOT NULL,
        due INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        token INTEGER NOT NULL DEFAULT 0,
        owner INTEGER,
        key TEXT,
        enqueued INTEGER NOT NULL,
        died INTEGER,
        cause TEXT
    ) STRICT;
    CREATE INDEX _dbm_job_due ON _dbm_job (kind, due) WHERE owner IS NULL AND due IS NOT NULL;
    CREATE INDEX _dbm_job_owner ON _dbm_job (owner, kind) WHERE owner IS NOT NULL;
    CREATE INDEX _dbm_job_died ON _dbm_job (died) WHERE died IS NOT NULL;
    CREATE UNIQUE INDEX _dbm_job_key ON _dbm_job (kind, key) WHERE key IS NOT NULL AND due IS NOT NULL;
    CREATE TABLE _dbm_worker (id INTEGER PRIMARY KEY, beat INTEGER NOT NULL) STRICT;
    INSERT INTO _dbm_format VALUES ('jobs', 1);";

/// The owner of jobs that came with a backup. No worker has this number, so nobody runs them.
pub(crate) const HELD: i64 = -1;

/// What a file has of these tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobTables {
    Missing,
    Present,
    /// They were made by a later release.
    Later,
}

pub(crate) fn look_for_job_tables(connection: &Connection) -> Result<JobTables> {
    let has_formats: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = '_dbm_format')",
        (),
        |row| row.get(0),
    )?;
    if !has_formats {
        return Ok(JobTables::Missing);
    }
    let sql = "SELECT number FROM main._dbm_format WHERE part = 'jobs'";
    let format: Option<i64> = connection.query_row(sql, (), |row| row.get(0)).optional()?;
    Ok(match format {
        None => JobTables::Missing,
        Some(FORMAT) => JobTables::Present,
        Some(_) => JobTables::Later,
    })
}

/// Holds the jobs of a backup that wait or ran when it was made: they may have been done since. Schedules go on. Returns how
/// many are held.
pub(super) fn hold_jobs(connection: &Connection) -> Result<usize> {
    match look_for_job_tables(connection)? {
        JobTables::Missing => return Ok(0),
        JobTables::Present => {}
        JobTables::Later => {
            return Err(Error::Refused {
                what: "restoring the jobs of this backup",
                why: "a later release of dbm has made their tables; use that release",
            });
        }
    }
    let transaction = connection.unchecked_transaction()?;
    // As if a running one had never been claimed.
    let sql = "UPDATE main._dbm_job SET owner = iif(key IS 'every', NULL, ?1), attempts = max(attempts - ifnull(owner > 0, 0), 0)
         WHERE due IS NOT NULL AND (owner IS NOT NULL OR key IS NOT 'every')";
    transaction.execute(sql, (HELD,))?;
    transaction.execute("DELETE FROM main._dbm_worker", ())?;
    let held = "SELECT count(*) FROM main._dbm_job WHERE owner = ?1";
    let held = transaction.query_row(held, (HELD,), |row| row.get(0))?;
    transaction.commit()?;
    Ok(held)
}

/// Makes the tables, unless they are there. Call it inside a transaction.
#[cfg(feature = "jobs")]
pub(crate) fn make_job_tables(connection: &Connection) -> Result<JobTables> {
    let found = look_for_job_tables(connection)?;
    if found == JobTables::Missing {
        connection.execute_batch(TABLES)?;
        return Ok(JobTables::Present);
    }
    Ok(found)
}

/// Gives back what a worker has claimed and not finished, as if it had never been claimed.
#[cfg(feature = "jobs")]
pub(super) fn release_jobs(connection: &Connection, worker: i64) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute(
        "UPDATE _dbm_job SET owner = NULL, attempts = attempts - 1 WHERE owner = ?1",
        (worker,),
    )?;
    transaction.execute("DELETE FROM _dbm_worker WHERE id = ?1", (worker,))?;
    Ok(transaction.commit()?)
}

#[cfg(all(test, feature = "jobs"))]
mod tests {
    use super::*;

    /// `Engine::read_schema` would take them for a schema whose transactions cannot be shared.
    #[test]
    fn the_tables_do_not_end_the_sharing_of_commits() {
        let lower = TABLES.to_lowercase();
        assert!(!lower.contains("deferred") && !lower.contains("rollback"));
    }
}
