//! The tables of jobs: how they are made, and what the end of a manager writes to them.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Result;

/// The format that this release reads and writes.
const FORMAT: i64 = 1;

/// `owner` is the worker that runs the job. 0: that worker's process has ended meanwhile, and perhaps because of this job.
/// `due` is NULL once the job is dead. `token` is the number of the newest claim.
///
/// `Engine::read_schema` looks for two words in every definition. They must not be in these, not even in a comment.
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

/// Makes the tables, unless they are there. Call it inside a transaction.
pub(crate) fn make_job_tables(connection: &Connection) -> Result<JobTables> {
    let found = look_for_job_tables(connection)?;
    if found == JobTables::Missing {
        connection.execute_batch(TABLES)?;
        return Ok(JobTables::Present);
    }
    Ok(found)
}

/// Gives back what a worker has claimed and not finished, as if it had never been claimed.
pub(super) fn release_jobs(connection: &Connection, worker: i64) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute(
        "UPDATE _dbm_job SET owner = NULL, attempts = attempts - 1 WHERE owner = ?1",
        (worker,),
    )?;
    transaction.execute("DELETE FROM _dbm_worker WHERE id = ?1", (worker,))?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Engine::read_schema` would take them for a schema whose transactions cannot be shared.
    #[test]
    fn the_tables_do_not_end_the_sharing_of_commits() {
        let lower = TABLES.to_lowercase();
        assert!(!lower.contains("deferred") && !lower.contains("rollback"));
    }
}
