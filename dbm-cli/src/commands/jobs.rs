//! `dbm jobs`: what is in the tables of jobs. The arguments of a job are not shown: they may be anything.

use std::fmt;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Report;
use crate::error::Error;
use crate::file::{self, AnyStore};

/// The format of the tables that is known here.
const FORMAT: i64 = 1;

#[derive(Debug, Serialize)]
struct Jobs {
    file: PathBuf,
    #[serde(flatten)]
    counts: Counts,
    /// The dead ones first.
    jobs: Vec<Job>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    waiting: u64,
    running: u64,
    dead: u64,
}

/// Times are in UTC, as RFC 3339 writes them.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    id: i64,
    kind: String,
    state: String,
    attempts: u64,
    enqueued: String,
    due: Option<String>,
    died: Option<String>,
    cause: Option<String>,
}

impl AnyStore {
    #[database_safe]
    async fn has_job_tables(&self, db: &mut ReadTransaction) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_dbm_job')";
        db.query_one(sql, ()).await
    }

    #[database_safe]
    async fn format_of_jobs(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        let sql = "SELECT number FROM _dbm_format WHERE part = 'jobs'";
        db.query_optional(sql, ()).await
    }

    /// Both from one snapshot.
    #[database_safe]
    async fn jobs(&self, db: &mut ReadTransaction, limit: u32) -> Result<(Counts, Vec<Job>)> {
        // Owner 0 is a worker whose process has ended.
        let counts =
            "SELECT count(*) FILTER (WHERE died IS NULL AND ifnull(owner, 0) = 0) AS waiting,
                             count(*) FILTER (WHERE died IS NULL AND owner <> 0) AS running,
                             count(*) FILTER (WHERE died IS NOT NULL) AS dead
                      FROM _dbm_job";
        let counts = db.query_one(counts, ()).await?;
        let jobs = "WITH format (utc) AS (VALUES ('%Y-%m-%dT%H:%M:%SZ'))
                    SELECT id, kind, attempts, cause,
                           iif(died IS NOT NULL, 'dead', iif(ifnull(owner, 0) = 0, 'waiting', 'running')) AS state,
                           strftime(utc, enqueued / 1000, 'unixepoch') AS enqueued,
                           strftime(utc, due / 1000, 'unixepoch') AS due,
                           strftime(utc, died / 1000, 'unixepoch') AS died
                    FROM _dbm_job, format
                    ORDER BY _dbm_job.died IS NULL, _dbm_job.died, _dbm_job.due, id LIMIT ?1";
        Ok((counts, db.query(jobs, (limit,)).await?))
    }
}

pub(crate) async fn run(file: &Path, limit: u32) -> Result<Report, Error> {
    let (store, _) = file::open(file).await?;
    let (counts, jobs) = if !store.has_job_tables().await? {
        Default::default()
    } else if store.format_of_jobs().await? == Some(FORMAT) {
        store.jobs(limit).await?
    } else {
        return Err(Error::LaterJobs {
            path: file.to_owned(),
        });
    };
    store.close().await?;
    let jobs = Jobs {
        file: file.to_owned(),
        counts,
        jobs,
    };
    Report::new(&jobs, jobs.counts.dead > 0)
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            waiting,
            running,
            dead,
        } = self.counts;
        let all = waiting + running + dead;
        if all == 0 {
            return f.write_str("no jobs");
        }
        writeln!(f, "{waiting} waiting, {running} running, {dead} dead")?;
        for job in &self.jobs {
            writeln!(f, "{job}")?;
        }
        match all - self.jobs.len() as u64 {
            0 => Ok(()),
            left => writeln!(f, "and {left} more, see --limit"),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7}  {}  {}", self.state, self.id, self.kind)?;
        match (&self.died, &self.due) {
            (Some(died), _) => write!(f, ", died {died}")?,
            (None, Some(due)) => write!(f, ", due {due}")?,
            (None, None) => {}
        }
        write!(f, ", attempts: {}", self.attempts)?;
        match &self.cause {
            // A cause may have several lines.
            Some(cause) => write!(f, ", {}", cause.replace(['\n', '\r'], " ")),
            None => Ok(()),
        }
    }
}
