use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{BoxError, Result};

/// What the tasks of a job do, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// One row by its key.
    Read,
    /// One row, a transaction each.
    Insert,
    /// Nine reads to one insert.
    Mix,
    /// Read and write one row, in one transaction, all tasks the same row.
    Increment,
    /// Open the database, read one row, close it; the time up to the row counts.
    Open,
    /// A call with an empty body.
    Nothing,
    /// Every row of the table, into memory.
    Rows,
    /// [`STATEMENTS`](crate::STATEMENTS) point reads in one transaction.
    Body,
    /// As many reads as the job has tasks wait, and are dropped at once.
    DropReads,
    /// The same for inserts, the last one first.
    DropInserts,
    /// As many databases as the job has tasks are opened at the same time.
    Managers,
}

/// `PRAGMA synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    Normal,
    Full,
}

/// When a job ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A closed loop for so long, after a warm-up.
    Time(Duration),
    /// So many calls on one task and one thread, for counting instructions.
    Calls(u64),
}

/// One measurement: `<workload> <tasks> <workers> <durability> <seconds | calls"x"> <path> <rows>`.
#[derive(Clone, Debug)]
pub struct Job {
    pub workload: Workload,
    pub tasks: usize,
    /// Of the tokio runtime.
    pub workers: usize,
    pub durability: Durability,
    pub limit: Limit,
    /// The database file, `<directory>/database.db`.
    pub path: PathBuf,
    /// How many rows it holds, with keys from 1 on.
    pub rows: u64,
}

impl Job {
    /// # Errors
    /// When the arguments are not those of a job.
    pub fn from_args(args: &[String]) -> Result<Self> {
        let [workload, tasks, workers, durability, limit, path, rows] = args else {
            return Err(
                "usage: <workload> <tasks> <workers> <durability> <seconds | calls\"x\"> <path> <rows>"
                    .into(),
            );
        };
        Ok(Self {
            workload: workload.parse()?,
            tasks: tasks.parse()?,
            workers: workers.parse()?,
            durability: durability.parse()?,
            limit: limit.parse()?,
            path: path.into(),
            rows: rows.parse()?,
        })
    }

    pub fn to_args(&self) -> [String; 7] {
        [
            self.workload.to_string(),
            self.tasks.to_string(),
            self.workers.to_string(),
            self.durability.to_string(),
            self.limit.to_string(),
            self.path.display().to_string(),
            self.rows.to_string(),
        ]
    }

    /// The settings of a connection, for peers that are configured by SQL.
    pub fn pragmas(&self) -> String {
        let durability = self.durability;
        format!(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {durability}; \
             PRAGMA foreign_keys = ON"
        )
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Mix => "mix",
            Self::Increment => "increment",
            Self::Open => "open",
            Self::Nothing => "nothing",
            Self::Rows => "rows",
            Self::Body => "body",
            Self::DropReads => "dropreads",
            Self::DropInserts => "dropinserts",
            Self::Managers => "managers",
        })
    }
}

impl FromStr for Workload {
    type Err = BoxError;

    fn from_str(s: &str) -> Result<Self> {
        [
            Self::Read,
            Self::Insert,
            Self::Mix,
            Self::Increment,
            Self::Open,
            Self::Nothing,
            Self::Rows,
            Self::Body,
            Self::DropReads,
            Self::DropInserts,
            Self::Managers,
        ]
        .into_iter()
        .find(|workload| workload.to_string() == s)
        .ok_or_else(|| format!("no workload {s:?}").into())
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Full => "full",
        })
    }
}

impl FromStr for Durability {
    type Err = BoxError;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "normal" => Ok(Self::Normal),
            "full" => Ok(Self::Full),
            _ => Err(format!("durability is normal or full, not {s:?}").into()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}", time.as_secs_f64()),
            Self::Calls(calls) => write!(f, "{calls}x"),
        }
    }
}

impl FromStr for Limit {
    type Err = BoxError;

    fn from_str(s: &str) -> Result<Self> {
        Ok(match s.strip_suffix('x') {
            Some(calls) => Self::Calls(calls.parse()?),
            None => Self::Time(Duration::try_from_secs_f64(s.parse()?)?),
        })
    }
}
