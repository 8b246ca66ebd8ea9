use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use semver::Version;

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
/// Causes are kept: [`source`](std::error::Error::source) yields the inner error itself, so downcasting works. Texts are
/// bounded in length and never contain a bound value or a row.
///
/// ```
/// # use dbm_core::{Error, rusqlite};
/// use std::error::Error as _;
///
/// # let error = Error::from(rusqlite::Error::QueryReturnedNoRows);
/// let sqlite = error.source().and_then(|cause| cause.downcast_ref::<rusqlite::Error>());
/// # assert!(sqlite.is_some());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite refused or failed a statement.
    #[error("{0}")]
    Sqlite(#[source] Shared<rusqlite::Error>),

    /// Another process (or another connection) kept the file locked for the whole busy timeout.
    #[error("the database is locked by another process, waited {waited:.0?}")]
    Busy {
        /// How long this call waited for the lock.
        waited: Duration,
        /// SQLite's own error.
        #[source]
        source: Shared<rusqlite::Error>,
    },

    /// A statement that the library reserves for itself or that would outlive the transaction.
    #[error("{what} is refused here: {why}")]
    Refused {
        /// What was refused.
        what: &'static str,
        /// Why, and what to use instead.
        why: &'static str,
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

    /// Nobody freed the lock within [`Config::acquire_timeout`](crate::Config::acquire_timeout).
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

    /// SQLite itself ended the transaction; nothing of it is kept.
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

    /// Another call took the shared transaction down with it; nothing was written, the call can be made again.
    #[error("a transaction shared with {by} was lost; nothing was written, try again")]
    BatchLost {
        /// The method that caused it.
        by: &'static str,
    },

    /// The disk failed while committing, or the system does not tell whether a bare connection's file is still there: whether
    /// the rows are there is known only after the next start.
    #[error("the commit failed, its rows may or may not be there after the next start: {cause}")]
    CommitUnknown {
        /// What the disk said.
        #[source]
        cause: Cause,
    },

    /// A lifecycle operation that waits for running calls was called from inside one.
    #[error("{operation} was called from inside {method}: it would wait for itself")]
    FromInside {
        /// The lifecycle operation.
        operation: &'static str,
        /// The method it was called from.
        method: &'static str,
    },

    /// The database file is gone or is another file than the one that was opened.
    #[error("the database file {} was removed or replaced while it was open", Bounded(&path.display()))]
    FileReplaced {
        /// Path of the database file.
        path: PathBuf,
    },

    /// A setting is not usable.
    #[error("invalid configuration: {}", Bounded(message))]
    Config {
        /// Which, and why.
        message: String,
    },

    /// The operating system refused an operation on a file or directory.
    #[error("{}: {source}", Bounded(&path.display()))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Shared<std::io::Error>,
    },

    /// The file has tables but no `Version` table: it was not made by a database manager.
    #[error("not a database of this kind: it has tables, but no Version table")]
    ForeignDatabase,

    /// The `Version` table does not hold exactly one row of three integers.
    #[error("the Version table is invalid: {message}")]
    InvalidVersion {
        /// What it holds.
        message: String,
    },

    /// The database was written by a newer program.
    #[error(
        "the database has version {stored}, this program needs {required}: a downgrade is refused"
    )]
    TooNew {
        /// Version in the file.
        stored: Version,
        /// Version this program needs.
        required: Version,
    },

    /// `migrate_db` returned `Ok(false)`.
    #[error("failed to migrate the database from {from} to {to}: migrate_db returned false")]
    MigrationRefused {
        /// Version in the file.
        from: Version,
        /// Version this program needs.
        to: Version,
    },

    /// The database has the right version, but not the schema that `init_db` makes; or a migration did not lead to
    /// it. See [`SchemaDrift`](crate::SchemaDrift).
    #[error(
        "the schema is not what init_db makes for version {version} (raise the version and migrate):\n{}",
        Bounded(.differences)
    )]
    SchemaDrift {
        /// Version in the file.
        version: Version,
        /// The differences, a line each: `-` is in the database, `+` is what `init_db` makes.
        differences: String,
    },

    /// A migration left rows whose parent is missing.
    #[error(
        "the migration leaves {count} new foreign key violations from {} to {}",
        Bounded(child),
        Bounded(parent)
    )]
    ForeignKeys {
        /// Table of the orphaned rows.
        child: String,
        /// Table they point to.
        parent: String,
        /// How many there are more than before.
        count: u64,
    },

    /// The backup before a migration did not pass `quick_check`.
    #[error("the backup is damaged: {message}")]
    Backup {
        /// What the check said.
        message: String,
    },

    /// Start-up needs a tokio runtime.
    #[error("no tokio runtime: {message}")]
    Runtime {
        /// What is missing.
        message: &'static str,
    },

    /// An error of the application, put here with [`Error::other`].
    #[error("{0}")]
    Other(#[source] Cause),
}

impl Error {
    /// Wraps any error or text, for hooks and methods that return this crate's [`Result`].
    ///
    /// ```
    /// # use dbm_core::Error;
    /// let error = Error::other("the file is from the future");
    /// assert_eq!(error.to_string(), "the file is from the future");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(Cause(Arc::from(error.into())))
    }

    /// SQLite's extended result code, where SQLite is the cause, however deep.
    ///
    /// ```
    /// use dbm_core::{Error, rusqlite::ffi};
    ///
    /// fn is_duplicate(error: &Error) -> bool {
    ///     matches!(error.sqlite_code(), Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY))
    /// }
    /// # assert!(!is_duplicate(&Error::NoRows));
    /// ```
    #[must_use]
    pub fn sqlite_code(&self) -> Option<i32> {
        Some(self.failure()?.extended_code)
    }

    /// Whether the same call, made again, may well succeed: nothing was written. True for [`Busy`](Self::Busy),
    /// [`BatchLost`](Self::BatchLost), [`AcquireTimeout`](Self::AcquireTimeout) and [`Overloaded`](Self::Overloaded).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::BatchLost { .. }
                | Self::AcquireTimeout { .. }
                | Self::Overloaded { .. }
        )
    }

    pub(crate) fn cause(self) -> Cause {
        Cause(Arc::new(self))
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

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source: Shared(Arc::new(source)),
        }
    }

    pub(crate) fn primary_code(&self) -> Option<rusqlite::ErrorCode> {
        Some(self.failure()?.code)
    }

    fn sqlite(&self) -> Option<&rusqlite::Error> {
        let mut error: &(dyn std::error::Error + 'static) = self;
        loop {
            if let Some(sqlite) = error.downcast_ref::<rusqlite::Error>() {
                return Some(sqlite);
            }
            error = error.source()?;
        }
    }

    fn failure(&self) -> Option<&rusqlite::ffi::Error> {
        match self.sqlite()? {
            rusqlite::Error::SqliteFailure(failure, _) => Some(failure),
            rusqlite::Error::SqlInputError { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The word for `error.type` in a span: stable, without data.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Busy { .. } => "busy",
            Self::Refused { .. } => "refused",
            Self::Parameter { .. } | Self::ParameterCount { .. } => "parameter",
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
            Self::Config { .. } | Self::Runtime { .. } => "config",
            Self::Io { .. } => "io",
            Self::ForeignDatabase | Self::InvalidVersion { .. } | Self::TooNew { .. } => "version",
            Self::MigrationRefused { .. }
            | Self::SchemaDrift { .. }
            | Self::ForeignKeys { .. }
            | Self::Backup { .. } => "migration",
            Self::Other(_) => "other",
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Shared(Arc::new(error)))
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// A shared cause of any type; it derefs to the error, and [`source`](std::error::Error::source) sees through it.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Deref for Cause {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Bounded(&self.0), f)
    }
}

/// A shared error of a known type; derefs to it.
#[derive(Debug)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Shared<T> {
    fn from(error: T) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Shared<rusqlite::Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            // rusqlite quotes the whole statement, in which a program may have written a secret.
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                write!(f, "{} (at byte {offset} of the statement)", Bounded(msg))
            }
            error => fmt::Display::fmt(&Bounded(error), f),
        }
    }
}

impl fmt::Display for Shared<std::io::Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Bounded(&*self.0), f)
    }
}

const MAX_TEXT: usize = 500;

/// Keeps error texts short: SQLite quotes whole statements in some of its own.
struct Bounded<'a, T: ?Sized>(&'a T);

impl<T: fmt::Display + ?Sized> fmt::Display for Bounded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        if text.len() > MAX_TEXT {
            let end = text.floor_char_boundary(MAX_TEXT);
            text.truncate(end);
            text.push('…');
        }
        f.write_str(&text)
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

    #[test]
    fn texts_are_bounded() {
        let error = Error::other("x".repeat(10_000));
        assert!(error.to_string().len() < 600);
    }
}
