use std::future::{Future, ready};
use std::time::Duration;

use crate::Job;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// What a point read returns: the name and the score of one row.
pub type Item = (String, i64);

pub const SELECT: &str = "SELECT name, score FROM item WHERE id = ?1";
pub const INSERT: &str = "INSERT INTO item (name, score) VALUES (?1, ?2)";
pub const READ_COUNTER: &str = "SELECT n FROM counter WHERE id = 1";
pub const WRITE_COUNTER: &str = "UPDATE counter SET n = ?1 WHERE id = 1";
pub const SELECT_ALL: &str = "SELECT name, score FROM item";
/// Of one body.
pub const STATEMENTS: i64 = 100;

/// One library, used the way its own documentation shows.
///
/// Every peer gets the same settings: WAL, `foreign_keys = ON`, the synchronous mode of the job, a busy timeout of
/// five seconds, and prepared statements kept where the library can keep them.
pub trait Peer: Sized {
    /// Opens the database of the job.
    fn open(job: &Job) -> impl Future<Output = Result<Self>> + Send;

    /// Runs [`SELECT`].
    fn read(&self, id: i64) -> impl Future<Output = Result<Item>> + Send;

    /// Runs [`INSERT`] in a transaction of its own.
    fn insert(&self, name: &'static str, score: i64) -> impl Future<Output = Result<()>> + Send;

    /// Adds one to the counter: `BEGIN IMMEDIATE`, [`READ_COUNTER`], [`WRITE_COUNTER`], `COMMIT`.
    fn increment(&self) -> impl Future<Output = Result<()>> + Send;

    /// What is left of a call when its body does nothing. Only for a peer that has such a thing.
    fn nothing(&self) -> impl Future<Output = Result<()>> + Send {
        ready(Err("this peer has no empty call".into()))
    }

    /// Runs [`SELECT_ALL`], and returns how many rows there are.
    fn rows(&self) -> impl Future<Output = Result<usize>> + Send {
        ready(Err("this peer does not read many rows".into()))
    }

    /// Runs [`SELECT`] for so many keys, in one transaction.
    fn body(&self, statements: i64) -> impl Future<Output = Result<()>> + Send {
        ready(Err(format!(
            "this peer does not run {statements} statements"
        )
        .into()))
    }

    /// Has so many reads (or inserts, `write`) wait, drops all of them, and returns how long that took.
    fn drop_waiting(
        &self,
        calls: usize,
        write: bool,
    ) -> impl Future<Output = Result<Duration>> + Send {
        let _ = (calls, write);
        ready(Err("this peer has no calls that wait".into()))
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send;
}
