//! What a database on a server must be able to do, for a crate that connects one. A program does not need it: it uses such
//! a crate's configuration in the place of [`Config::new`](crate::Config::new), and its annotated methods stay as they are.
//!
//! ```text
//! Config::remote(backend) ── start ──> Backend::connect ──> Remote ── each call ──> begin ──> RemoteTransaction
//!                                                            │                                 run, script, run_many, stream
//!                                                            │                                 savepoint, end_savepoint
//!                                                            └─ close <── DbManager::close     commit, roll_back, or dropped
//! ```
//!
//! This crate keeps everything that has to do with a *call*: the status gate, nesting, the order of the statements of a call,
//! panics, time limits, the failure policy, promises, metrics and spans. A backend keeps everything that has to do with the
//! *server*: connections, whose turn it is to write, the text of the SQL, the types of values, and how a transaction ends.
//!
//! # Who waits for what
//!
//! - [`Remote::begin`] waits for the turn and for a connection. It is fair (first come, first served) for
//!   [`Access::Write`] and [`Access::Connection`], and gives up with [`Error::AcquireTimeout`] after
//!   [`Limits::acquire_timeout`].
//! - The methods of a [`RemoteTransaction`] are called one after the other, never two at a time.
//! - Nothing is called from a thread without a tokio runtime, except that a transaction may be dropped there.
//!
//! # What a dropped future means
//!
//! - [`Remote::begin`]: nobody wants the transaction any more. The place in the queue is given up.
//! - [`RemoteTransaction::run`] and the like: the statement is to be stopped. Nothing but the drop of the transaction
//!   follows.
//! - [`RemoteTransaction::stream`], [`RemoteRows::next`], or the rows themselves: the statement is to be stopped, and the transaction goes on.
//! - [`RemoteTransaction::commit`]: once polled, the commit goes on all the same, and `promises` are kept if it succeeds.
//! - A transaction that is dropped is rolled back, without anybody waiting for it.
//!
//! # Errors
//!
//! Where an error of the start has the path of a file, it has [`Backend::name`] instead.
//!
//! No text of an error may hold a value, a row, a literal of the SQL, or a password.
//!
//! | what has happened | the error |
//! |---|---|
//! | the server refuses a statement | [`Error::Server`] |
//! | the connection is lost, or cannot be made | [`Error::disconnected`] |
//! | a COMMIT without an answer, and nobody can tell | [`Error::commit_unknown`] |
//! | a transaction that the server has ended or will not commit | [`Error::transaction_lost`] |
//! | the writer's turn, or a connection, did not come in time | [`Error::AcquireTimeout`] |
//! | the queue is longer than [`Limits::max_queue`] | [`Error::Overloaded`] |
//! | what the library reserves for itself, such as `COMMIT` in SQL | [`Error::Refused`] |
//! | parameters that do not fit | those of [`BoundParams::in_order`] |
//! | a text that is no statement, or several | [`Error::SqlText`] |
//! | an unusable setting, a server that is not the right one | [`Error::Config`] |

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use crate::access::Access;
#[expect(unused_imports, reason = "the documentation links to it")]
use crate::error::Error;
use crate::error::Result;
use crate::params::BoundParams;
pub use crate::row::Answer;
pub use crate::value::time::time_text;

/// What the methods of these traits return.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A kind of database, with its settings: what a [`Config`](crate::Config) carries. Each start of a manager connects anew.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The name of the system in spans (`db.system.name`), as OpenTelemetry spells it: `postgresql`.
    fn system(&self) -> &'static str;

    /// Which database it is, for logs, spans and errors: the host and the name. Without a password.
    fn name(&self) -> &str;

    /// Connects, and makes sure that the server is the right one. Called in the task of the start.
    ///
    /// # Errors
    ///
    /// They fail the start. Nothing is tried again.
    fn connect(&self, limits: Limits) -> Waiting<'_, Arc<dyn Remote>>;
}

/// The settings of [`Config`](crate::Config) that a backend keeps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// [`Config::acquire_timeout`](crate::Config::acquire_timeout): for a turn, for a connection, and for connecting.
    pub acquire_timeout: Duration,
    /// [`Config::max_queue`](crate::Config::max_queue): how many calls may wait for the writer.
    pub max_queue: Option<usize>,
}

/// The database of one running manager.
pub trait Remote: Send + Sync + 'static {
    /// The statement that makes the table `Version`: three columns `major`, `minor`, `patch` of 64-bit integers that are not
    /// NULL, and together the primary key.
    fn version_table(&self) -> &'static str;

    /// Waits for the turn, and begins.
    ///
    /// - [`Access::Read`]: a snapshot that holds all that was acknowledged before. It refuses what writes.
    /// - [`Access::Write`]: the one writer, among all processes. What it has read stays true until it has written.
    /// - [`Access::Connection`]: one connection, the writer's turn in this process, and no transaction.
    ///
    /// `method` is the annotated method, for errors.
    ///
    /// # Errors
    ///
    /// [`Error::AcquireTimeout`], [`Error::Overloaded`], [`Error::Disconnected`], [`Error::Server`].
    fn begin<'a>(
        &'a self,
        access: Access,
        method: &'static str,
    ) -> Waiting<'a, Box<dyn RemoteTransaction>>;

    /// A mark that is another one once anything was committed, by any process. It may change without that, too. Live reads that
    /// look for the commits of other processes compare it with the one before.
    fn mark(&self) -> Waiting<'_, String>;

    /// Closes all connections. No transaction is open any more, except for those that are being rolled back.
    fn close(&self) -> Waiting<'_, ()>;
}

/// What one call uses: a transaction, or with [`Access::Connection`] a connection alone.
///
/// After a statement has failed, all that follows is the end of the savepoint around it, or of the transaction. A statement
/// that comes all the same gets an error.
pub trait RemoteTransaction: Send {
    /// Runs one statement to its end.
    ///
    /// Its parameters are written `?1`, `?`, `:name`, `@name` or `$name`; [`BoundParams::in_order`] has their values.
    fn run<'a>(&'a mut self, sql: &'a str, params: &'a BoundParams) -> Waiting<'a, Answer>;

    /// Runs one statement for each row of parameters, and returns how many rows it has changed. It is inside a savepoint, so
    /// after an error nothing of it is left.
    ///
    /// # Errors
    ///
    /// [`Error::at_row`] for what one row has caused, counted from 0.
    fn run_many<'a>(&'a mut self, sql: &'a str, rows: &'a [BoundParams]) -> Waiting<'a, u64> {
        Box::pin(async move {
            let mut changed = 0;
            for (index, row) in rows.iter().enumerate() {
                let answer = self.run(sql, row).await;
                changed += answer.map_err(|error| error.at_row(index))?.changed();
            }
            Ok(changed)
        })
    }

    /// Runs several statements, separated by semicolons, without parameters. It stops at the first error.
    fn script<'a>(&'a mut self, sql: &'a str) -> Waiting<'a, ()>;

    /// The rows of one statement, some at a time.
    fn stream<'a>(
        &'a mut self,
        sql: &'a str,
        params: &'a BoundParams,
    ) -> Waiting<'a, Box<dyn RemoteRows + 'a>>;

    /// Sets a savepoint. They are nested: `depth` counts from 1.
    fn savepoint(&mut self, depth: usize) -> Waiting<'_, ()>;

    /// Ends the savepoint of this `depth`, and those inside it: keeps what was done since, or undoes it.
    ///
    /// # Errors
    ///
    /// To keep it, no statement may have failed since. It is then undone by a second call.
    fn end_savepoint(&mut self, depth: usize, keep: bool) -> Waiting<'_, ()>;

    /// What is there. In a write transaction it stays so; in a read it is what was there when that began.
    fn look(&mut self) -> Waiting<'_, Contents>;

    /// Commits, and returns once that is durable. `promises` are kept as soon as that is certain and before the next writer
    /// commits, so in the order of the commits. With [`Access::Connection`] there is nothing to commit, and the connection is
    /// given back.
    ///
    /// # Errors
    ///
    /// - [`Error::TransactionLost`] if a statement has failed and was not undone; the server's own errors: nothing is kept;
    /// - [`Error::CommitUnknown`];
    /// - [`Error::TransactionLeftOpen`] with [`Access::Connection`]: it was rolled back.
    fn commit(self: Box<Self>, promises: Promises) -> Waiting<'static, ()>;

    /// Rolls back, and returns once that is done, or once it is certain that the server does it.
    fn roll_back(self: Box<Self>) -> Waiting<'static, ()>;
}

/// The rows of a statement that runs.
pub trait RemoteRows: Send {
    /// The next rows, as many as fit into about 64 KiB; `None` after the last ones. Dropping it stops the statement, and the
    /// transaction can go on.
    fn next(&mut self) -> Waiting<'_, Option<Answer>>;
}

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// No table: a new database.
    Nothing,
    /// The table `Version`, and perhaps others.
    Versioned,
    /// Tables, but no table `Version`.
    Foreign,
}

/// What a transaction has promised for the time after its commit. Dropped, it takes the promises back: the transaction was
/// undone, or its end is unknown.
#[must_use = "dropped, it takes the promises back"]
pub struct Promises(Box<dyn FnOnce() + Send>);

impl Promises {
    pub(crate) fn new(keep: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(keep))
    }

    /// The transaction is durable. This wakes other tasks, and runs nothing of the program; still, hold no lock meanwhile.
    pub fn keep(self) {
        (self.0)();
    }
}

impl fmt::Debug for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promises").finish_non_exhaustive()
    }
}
