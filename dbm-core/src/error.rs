//! [`Error`], the one type of everything that can go wrong, and its texts.

mod cause;
#[cfg(feature = "remote")]
mod remote;
mod sqlite;
mod words;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ffi;
use semver::Version;

use cause::Bounded;
use words::Origin;

pub use cause::{Cause, Shared};
pub use sqlite::SqliteError;
pub(crate) use words::may_hold_literal;

/// What a fallible operation of this crate returns; the prelude brings it in, with [`Error`] as the default error.
///
/// With two arguments it is std's `Result`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, in one clonable type.
///
/// An annotated method may return this or any `E` with `From<Error>`:
///
/// ```
/// use dbm_core::prelude::*;
///
/// #[derive(Debug, thiserror::Error)]
/// enum UserError {
///     #[error("no user {0}")]
///     Unknown(u64),
///     #[error(transparent)]
///     Database(#[from] Error),
/// }
///
/// fn explain(error: &UserError) -> &'static str {
///     match error {
///         UserError::Unknown(_) => "not found",
///         UserError::Database(Error::Timeout { .. } | Error::AcquireTimeout { .. }) => "too slow",
///         UserError::Database(error) if error.is_retryable() => "try again",
///         UserError::Database(_) => "out of order",
///     }
/// }
/// # assert_eq!(explain(&UserError::Unknown(1)), "not found");
/// # assert_eq!(explain(&UserError::Database(Error::NoRows)), "out of order");
/// ```
///
/// Causes are kept: [`source`](std::error::Error::source) returns the inner error itself, so downcasting works. Texts are
/// limited in length and never contain a bound value, a row, or a literal of the SQL. Of SQLite's message they keep the
/// names of tables, columns and constraints ([`SqliteError`]). [`Debug`](fmt::Debug), which `fn main() -> Result<()>` and
/// `unwrap` print, shows the text too.
///
/// ```
/// # use dbm_core::{Error, rusqlite};
/// use std::error::Error as _;
///
/// # let error = Error::from(rusqlite::Error::QueryReturnedNoRows);
/// let sqlite = error.source().and_then(|cause| cause.downcast_ref::<rusqlite::Error>());
/// # assert!(sqlite.is_some());
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite refused or failed a statement.
    #[error("{0}")]
    Sqlite(#[source] SqliteError),

    /// Another process (or another connection) kept the file locked for the whole busy timeout.
    #[error("the database is locked by another process, waited {waited:.0?}")]
    Busy {
        /// How long this call waited for the lock.
        waited: Duration,
        /// SQLite's own error.
        #[source]
        source: SqliteError,
    },

    /// A statement that the library reserves for itself or that would outlive the transaction.
    #[error("{what} is refused here: {why}")]
    Refused {
        /// What was refused.
        what: &'static str,
        /// Why, and what to use instead.
        why: &'static str,
    },

    /// A text that is not one statement: it is empty, has several statements or a NUL character.
    #[error("the SQL {message}")]
    SqlText {
        /// What it is, and what to do.
        message: &'static str,
    },

    /// A parameter could not be converted or does not exist in the statement.
    #[error("parameter {name}: {message}")]
    Parameter {
        /// The parameter as the statement knows it, such as `?1` or `:id`.
        name: String,
        /// What is wrong with it.
        message: String,
    },

    /// A statement was given too many or too few positional parameters.
    #[error("the statement has {expected} parameters, {given} were given")]
    ParameterCount {
        /// How many parameters the statement has.
        expected: usize,
        /// How many values were given.
        given: usize,
    },

    /// A row that was given to [`execute_many`](crate::WriteTransaction::execute_many) failed. None of its rows is kept;
    /// the transaction can go on.
    #[error("row {index}: {cause}")]
    Row {
        /// Which of the given rows it is, counted from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },

    /// A column could not be converted to the wanted type.
    #[error("column {column}: {message}")]
    Column {
        /// Name of the column.
        column: String,
        /// What is wrong with it.
        message: String,
    },

    /// A row does not have the shape of the wanted type.
    #[error("{message}")]
    RowShape {
        /// What the row has and what the type wants.
        message: String,
    },

    /// `query_one` found no row.
    #[error("the query returned no row")]
    NoRows,

    /// `query_one` or `query_optional` found more than one row.
    #[error("the query returned more than one row")]
    TooManyRows,

    /// None of the arguments named by `#[required_argument]` was given.
    #[error("{method}: at least one of these arguments is required: {}", arguments.join(", "))]
    MissingArgument {
        /// The called method.
        method: &'static str,
        /// The arguments of which at least one must be `Some`.
        arguments: Vec<&'static str>,
    },

    /// The manager is closing or closed.
    #[error("{method}: the database is closed")]
    Closed {
        /// The called method.
        method: &'static str,
    },

    /// The manager failed to start; the cause is the same for every caller.
    #[error("{method}: the database failed to start: {cause}")]
    Failed {
        /// The called method.
        method: &'static str,
        /// Why start-up failed.
        #[source]
        cause: Cause,
    },

    /// The lock was not freed within [`Config::acquire_timeout`](crate::Config::acquire_timeout). Returned at once if it
    /// cannot be freed: a closure, a `Deserialize` or an SQL function calls for the connection that its own statement
    /// runs on, or [`on_open`](crate::Config::on_open) calls its own manager.
    #[error(
        "{method}: gave up after waiting {waited:.0?}; held by {holder} for {held:.0?}, {queued} queued"
    )]
    AcquireTimeout {
        /// The method that waited.
        method: &'static str,
        /// How long it waited.
        waited: Duration,
        /// The method that holds what was waited for.
        holder: &'static str,
        /// How long the holder has had it.
        held: Duration,
        /// How many calls were waiting.
        queued: usize,
    },

    /// The queue was already as long as [`Config::max_queue`](crate::Config::max_queue) allows.
    #[error("{method}: overloaded, {queued} calls are queued already")]
    Overloaded {
        /// The refused method.
        method: &'static str,
        /// Length of the queue.
        queued: usize,
    },

    /// The body ran longer than its `timeout`; it was rolled back.
    #[error("{method}: timed out after {limit:.0?}")]
    Timeout {
        /// The method that ran too long.
        method: &'static str,
        /// Its limit.
        limit: Duration,
    },

    /// The body panicked; it was rolled back.
    #[error("{method} panicked: {message}")]
    Panicked {
        /// The method that panicked.
        method: &'static str,
        /// The panic's message, when it was text.
        message: String,
    },

    /// A call inside another call of the same manager that cannot join it.
    #[error("{inner} cannot run inside {outer}: {why}")]
    Nesting {
        /// The method that is running.
        outer: &'static str,
        /// The method it called.
        inner: &'static str,
        /// Why it cannot join.
        why: &'static str,
    },

    /// A method without `#[during_init]` was called from `init_db` or `migrate_db`.
    #[error("{method} was called from init_db or migrate_db; mark it #[during_init]")]
    NotDuringInit {
        /// The called method.
        method: &'static str,
    },

    /// The database itself ended the transaction; nothing of it is kept. With a server also: a statement has failed, and the
    /// body has returned `Ok` all the same.
    #[error("the transaction was lost: {cause}")]
    TransactionLost {
        /// What made SQLite roll back.
        #[source]
        cause: Cause,
    },

    /// A statement was dropped before it ended, so what it wrote is unknown: the transaction was rolled back.
    #[error("a statement was dropped before it ended; the transaction can only roll back")]
    StatementDropped,

    /// The body left a transaction open on its [`Connection`](crate::Connection); it was rolled back.
    #[error("{method} left a transaction open; it was rolled back")]
    TransactionLeftOpen {
        /// The method that left it open.
        method: &'static str,
    },

    /// The call that this handle belongs to has ended.
    #[error("the call that this handle belongs to has ended")]
    HandleEnded,

    /// Another call made the shared transaction fail. Nothing was written; the call can be made again.
    #[error("a transaction shared with {by} was lost; nothing was written, try again")]
    BatchLost {
        /// The method that caused it.
        by: &'static str,
    },

    /// The disk failed while committing, or the system does not tell whether a bare connection's file is still there.
    /// Only the next start shows whether the rows were written. With a server: the answer to the COMMIT did not come, and the
    /// server could not be asked what has become of it.
    #[error("the commit failed, and its rows may or may not be there: {cause}")]
    CommitUnknown {
        /// What the disk said, or how the connection was lost.
        #[source]
        cause: Cause,
    },

    /// A lifecycle operation that waits for running calls was called from inside a call or a statement.
    #[error("{operation} was called from inside {method}: it would wait for itself")]
    FromInside {
        /// The lifecycle operation.
        operation: &'static str,
        /// The method it was called from.
        method: &'static str,
    },

    /// The database file is gone, or is not the file that was opened.
    #[error("the database file {} was removed or replaced while it was open", Bounded(&path.display()))]
    FileReplaced {
        /// Path of the database file.
        path: Box<Path>,
    },

    /// The write-ahead log, or the rollback journal, beside the database was written for another file. Most likely a
    /// backup was restored while the log of a killed program was still there. Nothing was changed.
    ///
    /// With this log, SQLite would mix the two databases. Remove the log, and the file of the same name that ends in
    /// `-shm`; or put back the file that the log belongs to.
    #[error(
        "the log {} belongs to another database file: {why}; remove it, and a -shm file beside it, or put its database back",
        Bounded(&log.display())
    )]
    ForeignLog {
        /// The log, which ends in `-wal` or `-journal`.
        log: Box<Path>,
        /// How that is known.
        why: &'static str,
    },

    /// A setting is not usable.
    #[error("invalid configuration: {}", Bounded(message))]
    Config {
        /// Which, and why.
        message: String,
    },

    /// The closure of [`Config::on_open`](crate::Config::on_open) or [`Config::on_create`](crate::Config::on_create)
    /// returned an error, panicked, or did what it must not do. The connection was not used. If a call needed it, the
    /// call has done nothing, and the next one tries again.
    #[error("{hook} failed: {cause}")]
    OnOpen {
        /// `on_open` or `on_create`.
        hook: &'static str,
        /// What the closure returned; [`Error::Refused`] for what it must not do.
        #[source]
        cause: Cause,
    },

    /// The operating system refused an operation on a file or directory.
    #[error("{}: {source}", Bounded(&path.display()))]
    Io {
        /// The file or directory.
        path: Box<Path>,
        /// What the system said.
        #[source]
        source: Shared<std::io::Error>,
    },

    /// The file has tables but no `Version` table: it was not made by a database manager.
    /// [`Config::adopt`](crate::Config::adopt) takes it over.
    #[error(
        "{}: not a database of this kind: it has tables, but no Version table; Config::adopt takes such a file over",
        Bounded(&path.display())
    )]
    ForeignDatabase {
        /// Path of the database file.
        path: Box<Path>,
    },

    /// The file has a table, a view or an index of its own with the name of the table `Version`. SQLite ignores the case
    /// of names. Rename it in the file, and in the program.
    #[error(
        "{}: its {kind} {} has the name of the table that holds the schema version, and SQLite ignores case; rename it",
        Bounded(&path.display()),
        Bounded(name)
    )]
    VersionNameTaken {
        /// Path of the database file.
        path: Box<Path>,
        /// What has the name: `table`, `view` or `index`.
        kind: &'static str,
        /// The name as the file spells it.
        name: String,
    },

    /// The `Version` table does not hold exactly one row of three integers.
    #[error("the Version table is invalid: {message}")]
    InvalidVersion {
        /// What it holds.
        message: String,
    },

    /// The database was written by a newer program.
    #[error(
        "{}: the database has version {stored}, this program needs {required}: a downgrade is refused",
        Bounded(&path.display())
    )]
    TooNew {
        /// Path of the database file.
        path: Box<Path>,
        /// Version in the file, or the one that it was to be adopted with.
        stored: Box<Version>,
        /// Version this program needs.
        required: Box<Version>,
    },

    /// The database has to be migrated, which [`Config::read_only`](crate::Config::read_only) forbids.
    #[error(
        "{}: the database has version {stored}, this program needs {required}: nothing is migrated with Config::read_only",
        Bounded(&path.display())
    )]
    TooOld {
        /// Path of the database file.
        path: Box<Path>,
        /// Version in the file.
        stored: Box<Version>,
        /// Version this program needs.
        required: Box<Version>,
    },

    /// There is no database: the file is missing or empty, and [`Config::read_only`](crate::Config::read_only) forbids
    /// creating one.
    #[error(
        "{}: there is no database, and none is created with Config::read_only",
        Bounded(&path.display())
    )]
    NoDatabase {
        /// Path of the database file.
        path: Box<Path>,
    },

    /// SQLite would have to write before it can read, which [`Config::read_only`](crate::Config::read_only), or the
    /// system, forbids.
    #[error("{}: cannot be read without writing: {why}", Bounded(&path.display()))]
    NotReadable {
        /// Path of the database file.
        path: Box<Path>,
        /// What would have to be written, and what to do.
        why: &'static str,
    },

    /// A call that writes, of a manager with [`Config::read_only`](crate::Config::read_only).
    #[error("{method} writes, but the database was opened with Config::read_only")]
    ReadOnly {
        /// The called method.
        method: &'static str,
    },

    /// `migrate_db` returned `Ok(false)`.
    #[error(
        "{}: failed to migrate the database from {from} to {to}: migrate_db returned false",
        Bounded(&path.display())
    )]
    MigrationRefused {
        /// Path of the database file.
        path: Box<Path>,
        /// Version in the file.
        from: Box<Version>,
        /// Version this program needs.
        to: Box<Version>,
    },

    /// The database has the right version but not the schema that `init_db` makes, or a migration did not lead to that
    /// schema. See [`SchemaDrift`](crate::SchemaDrift).
    #[error(
        "{}: the schema is not what init_db makes for version {version} (raise the version and migrate):\n{}",
        Bounded(&path.display()),
        Bounded(.differences)
    )]
    SchemaDrift {
        /// Path of the database file.
        path: Box<Path>,
        /// Version in the file.
        version: Box<Version>,
        /// The differences, a line each: `-` is in the database, `+` is what `init_db` makes.
        differences: String,
    },

    /// A migration left rows whose parent is missing, or a foreign key that no row can satisfy: its parent is not a
    /// table, lacks the columns, or they are not unique.
    #[error("{}: {}", Bounded(&path.display()), ForeignKeyFault { child, parent, count: *count })]
    ForeignKeys {
        /// Path of the database file.
        path: Box<Path>,
        /// Table of the orphaned rows.
        child: Box<str>,
        /// Table they point to.
        parent: Box<str>,
        /// How many orphans the migration has added; 0 if the key itself is at fault.
        count: u64,
    },

    /// A backup did not pass SQLite's check: one that was just made, or one that was to be restored.
    #[error("the backup is damaged: {message}")]
    Backup {
        /// What the check said.
        message: String,
    },

    /// The name of a backup is taken, perhaps by the database itself. Nothing was overwritten.
    #[error("{}: exists already; a backup overwrites nothing, so choose another name", Bounded(&path.display()))]
    TargetExists {
        /// The name.
        path: Box<Path>,
    },

    /// A write-ahead log or a rollback journal lies beside a backup, or where one is to be made. SQLite would apply it to
    /// the backup. Nothing was changed.
    #[error("{}: a log lies beside the backup; {fix}", Bounded(&log.display()))]
    LogBeside {
        /// The log, which ends in `-wal` or `-journal`.
        log: Box<Path>,
        /// What to do about it.
        fix: &'static str,
    },

    /// A database that is open cannot be replaced. Close it in every program first. Nothing was changed.
    #[error("{}: the database is open, close it in every program first; nothing was changed", Bounded(&path.display()))]
    DatabaseOpen {
        /// Path of the database file.
        path: Box<Path>,
    },

    /// Start-up needs a tokio runtime.
    #[error("no tokio runtime: {message}")]
    Runtime {
        /// What is missing.
        message: &'static str,
    },

    /// The server of a database refused or failed a statement.
    #[cfg(feature = "remote")]
    #[error("{message} (SQLSTATE {state})")]
    Server {
        /// The SQLSTATE: five characters, of which the first two are the class.
        state: Box<str>,
        /// What the server said, without the values that it quoted.
        message: Box<str>,
    },

    /// The connection to the server of a database was lost, or could not be made. A transaction is not committed then. With a
    /// bare [`Connection`](crate::Connection), what the last statement did is unknown.
    #[cfg(feature = "remote")]
    #[error("{}: not connected: {cause}", Bounded(server))]
    Disconnected {
        /// The host, and the database.
        server: Box<str>,
        /// Why.
        #[source]
        cause: Cause,
    },

    /// An error of the application, wrapped by [`Error::other`].
    #[error("{0}")]
    Other(#[source] Cause),
}

impl Error {
    /// Wraps any error or text, for hooks and methods that return this crate's [`Result`]. A [`rusqlite::Error`] becomes
    /// [`Error::Sqlite`].
    ///
    /// ```
    /// # use dbm_core::Error;
    /// let error = Error::other("the file is from the future");
    /// assert_eq!(error.to_string(), "the file is from the future");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        match error.into().downcast::<rusqlite::Error>() {
            Ok(error) => Self::from(*error),
            Err(error) => Self::Other(Cause(Arc::from(error))),
        }
    }

    /// SQLite's extended result code, if SQLite is the cause, at any depth.
    ///
    /// ```
    /// use dbm_core::{Error, rusqlite::ffi};
    ///
    /// fn is_check(error: &Error) -> bool {
    ///     error.sqlite_code() == Some(ffi::SQLITE_CONSTRAINT_CHECK)
    /// }
    /// # assert!(!is_check(&Error::NoRows));
    /// ```
    #[must_use]
    pub fn sqlite_code(&self) -> Option<i32> {
        Some(self.failure()?.extended_code)
    }

    /// SQLite's own message, if SQLite is the cause, at any depth. It may quote bound values and the text of the
    /// statement, so it does not belong in a log. It includes the text of `RAISE` in a trigger.
    #[must_use]
    pub fn sqlite_message(&self) -> Option<&str> {
        self.find(|error| match error.downcast_ref() {
            Some(Self::Sqlite(error) | Self::Busy { source: error, .. }) => error.message(),
            _ => None,
        })
    }

    /// Whether the row already exists: a `UNIQUE` or `PRIMARY KEY` constraint failed.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        #[cfg(feature = "remote")]
        if self.server_state() == Some("23505") {
            return true;
        }
        matches!(
            self.sqlite_code(),
            Some(
                ffi::SQLITE_CONSTRAINT_UNIQUE
                    | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                    | ffi::SQLITE_CONSTRAINT_ROWID
            )
        )
    }

    /// Whether a foreign key failed: a row points to no parent, or other rows still point to it.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        #[cfg(feature = "remote")]
        if self.server_state() == Some("23503") {
            return true;
        }
        self.sqlite_code() == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
    }

    /// Whether a full-text query could not be parsed, for example because a user's input reached `MATCH`.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn search(db: &mut ReadTransaction, typed: &str) -> Result<Vec<String>> {
    /// match db.query("SELECT title FROM note WHERE note MATCH ?1", (typed,)).await {
    ///     Err(error) if error.is_invalid_match() => Ok(Vec::new()),
    ///     found => found,
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_invalid_match(&self) -> bool {
        self.find(|error| match error.downcast_ref() {
            Some(Self::Sqlite(error)) => error.is_about_a_match().then_some(()),
            _ => None,
        })
        .is_some()
    }

    /// Whether the same call may succeed if it is made again: nothing was written. True for [`Busy`](Self::Busy),
    /// [`BatchLost`](Self::BatchLost), [`AcquireTimeout`](Self::AcquireTimeout) and [`Overloaded`](Self::Overloaded). With a
    /// server also if the connection was lost, and if it has chosen the transaction as the victim of a conflict (class 40).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        #[cfg(feature = "remote")]
        if self.is_retryable_on_server() {
            return true;
        }
        matches!(
            self,
            Self::Busy { .. }
                | Self::BatchLost { .. }
                | Self::AcquireTimeout { .. }
                | Self::Overloaded { .. }
        )
    }

    pub(crate) fn refused(refusal: dbm_sql::Refusal) -> Self {
        Self::Refused {
            what: refusal.what(),
            why: refusal.why(),
        }
    }

    pub(crate) fn cause(self) -> Cause {
        Cause(Arc::new(self))
    }

    pub(crate) fn in_row(self, index: usize) -> Self {
        Self::Row {
            index,
            cause: self.cause(),
        }
    }

    /// Names a lock of another process for what it is.
    pub(crate) fn or_busy(self, waited: Duration) -> Self {
        match self {
            Self::Sqlite(source)
                if matches!(
                    source.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
                ) =>
            {
                Self::Busy { waited, source }
            }
            other => other,
        }
    }

    /// Names the database that failed to start, where the error has room for it.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        let path = Bounded(&path.display()).to_string();
        match &mut self {
            Self::Sqlite(source) | Self::Busy { source, .. } => source.set_file(&path),
            Self::InvalidVersion { message } | Self::Backup { message } => {
                message.push_str(&format!(" ({path})"));
            }
            #[cfg(feature = "remote")]
            Self::Server { message, .. } => *message = format!("{path}: {message}").into(),
            _ => {}
        }
        self
    }

    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().into(),
            source: Shared(Arc::new(source)),
        }
    }

    /// The error of a COMMIT. SQLite has rolled back, unless the disk has failed meanwhile: then nobody knows.
    pub(crate) fn of_commit(self) -> Self {
        match self.primary_code() {
            Some(rusqlite::ErrorCode::SystemIoFailure) => Self::CommitUnknown {
                cause: self.cause(),
            },
            _ => self,
        }
    }

    pub(crate) fn primary_code(&self) -> Option<rusqlite::ErrorCode> {
        Some(self.failure()?.code)
    }

    /// Notes the method in an error of SQLite.
    pub(crate) fn in_method(self, method: &'static str) -> Self {
        match self {
            Self::Sqlite(error) => Self::Sqlite(error.in_method(method)),
            other => other,
        }
    }

    /// An error in the text of a statement, before any value was bound.
    pub(crate) fn of_text(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::MultipleStatement => Self::SqlText {
                message: "has several statements; `execute_batch` runs them",
            },
            error => Self::Sqlite(SqliteError::new(error, Origin::Text)),
        }
    }

    /// An error of a statement that ran: what looks like a name may be a value.
    pub(crate) fn of_run(self) -> Self {
        match self {
            Self::Sqlite(error) => Self::Sqlite(error.of_run()),
            other => other,
        }
    }

    /// What is asked for of this error or one of its causes.
    fn find<'e, T>(
        &'e self,
        ask: impl Fn(&'e (dyn std::error::Error + 'static)) -> Option<T>,
    ) -> Option<T> {
        let mut error: &(dyn std::error::Error + 'static) = self;
        loop {
            if let Some(answer) = ask(error) {
                return Some(answer);
            }
            error = error.source()?;
        }
    }

    fn failure(&self) -> Option<&ffi::Error> {
        self.find(|error| sqlite::code(error.downcast_ref()?))
    }

    /// The word for `error.type` in a span: stable, without data.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Busy { .. } => "busy",
            Self::Refused { .. } => "refused",
            Self::SqlText { .. } => "sql_text",
            Self::Parameter { .. } | Self::ParameterCount { .. } => "parameter",
            Self::Row { .. } => "row",
            Self::Column { .. } | Self::RowShape { .. } => "column",
            Self::NoRows => "no_rows",
            Self::TooManyRows => "too_many_rows",
            Self::MissingArgument { .. } => "missing_argument",
            Self::Closed { .. } => "closed",
            Self::Failed { .. } => "failed",
            Self::AcquireTimeout { .. } => "acquire_timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::Timeout { .. } => "timeout",
            Self::Panicked { .. } => "panicked",
            Self::Nesting { .. } | Self::NotDuringInit { .. } | Self::FromInside { .. } => {
                "nesting"
            }
            Self::TransactionLost { .. }
            | Self::StatementDropped
            | Self::TransactionLeftOpen { .. } => "transaction_lost",
            Self::HandleEnded => "handle_ended",
            Self::BatchLost { .. } => "batch_lost",
            Self::CommitUnknown { .. } => "commit_unknown",
            Self::FileReplaced { .. } => "file_replaced",
            Self::ForeignLog { .. } => "foreign_log",
            Self::Config { .. } | Self::Runtime { .. } => "config",
            Self::OnOpen { .. } => "on_open",
            Self::Io { .. } => "io",
            Self::ForeignDatabase { .. }
            | Self::VersionNameTaken { .. }
            | Self::InvalidVersion { .. }
            | Self::TooNew { .. }
            | Self::TooOld { .. } => "version",
            Self::NoDatabase { .. } | Self::NotReadable { .. } | Self::ReadOnly { .. } => {
                "read_only"
            }
            Self::MigrationRefused { .. } | Self::SchemaDrift { .. } | Self::ForeignKeys { .. } => {
                "migration"
            }
            Self::Backup { .. }
            | Self::TargetExists { .. }
            | Self::LogBeside { .. }
            | Self::DatabaseOpen { .. } => "backup",
            #[cfg(feature = "remote")]
            Self::Server { .. } => "server",
            #[cfg(feature = "remote")]
            Self::Disconnected { .. } => "disconnected",
            Self::Other(_) => "other",
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error.into())
    }
}

impl fmt::Debug for Error {
    /// The text, and the causes of a foreign error, whose own text may leave them out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut next = match self {
            Self::Other(cause) => cause.source(),
            _ => None,
        };
        while let Some(cause) = next {
            match cause.downcast_ref().and_then(sqlite::code) {
                Some(code) => write!(f, "\n  caused by: {}", sqlite::sentence(code))?,
                None => write!(f, "\n  caused by: {}", Bounded(cause))?,
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

struct ForeignKeyFault<'a> {
    child: &'a str,
    parent: &'a str,
    count: u64,
}

impl fmt::Display for ForeignKeyFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (child, parent) = (Bounded(self.child), Bounded(self.parent));
        match self.count {
            0 => write!(
                f,
                "the migration leaves a foreign key from {child} to {parent} that no row can satisfy: the parent is no table, \
                 or does not have the columns, or they are not unique"
            ),
            count => write!(
                f,
                "the migration leaves {count} new foreign key violations from {child} to {parent}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn source_yields_the_inner_error_itself() {
        let error = Error::from(rusqlite::Error::QueryReturnedNoRows);
        assert!(
            error
                .source()
                .is_some_and(<dyn std::error::Error>::is::<rusqlite::Error>)
        );
        let outer = Error::Failed {
            method: "user",
            cause: error.clone().cause(),
        };
        assert!(
            outer
                .source()
                .is_some_and(<dyn std::error::Error>::is::<Error>)
        );
        assert!(
            Error::other(std::io::Error::other("x"))
                .source()
                .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        );
    }

    /// It is part of almost every future of a call, and moved with each result.
    #[test]
    fn an_error_is_small() {
        assert!(size_of::<Error>() <= 72, "{}", size_of::<Error>());
    }

    #[test]
    fn texts_are_bounded() {
        let error = Error::other("x".repeat(10_000));
        assert!(error.to_string().len() < 600);
    }
}
