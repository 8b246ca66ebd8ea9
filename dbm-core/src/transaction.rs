//! What a body receives: the handle says what the method may do.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_core::de::DeserializeOwned;

use crate::engine::{Kind, Work};
use crate::error::Result;
use crate::frame::Frame;
use crate::params::Params;
use crate::row::{self, Row};

/// One consistent snapshot of the database; it cannot write.
///
/// It runs on a connection of its own beside the writer and sees every write that was acknowledged before the call
/// began.
pub struct ReadTransaction {
    frame: Arc<Frame>,
}

/// The one write transaction of a manager: it commits when the body returns `Ok`, and rolls back on `Err`, a panic,
/// a timeout and a cancellation.
///
/// It derefs to [`ReadTransaction`], so a helper `async fn f(db: &mut ReadTransaction)` serves both. Transaction
/// control in SQL (`BEGIN`, `COMMIT`, `SAVEPOINT`, …), `ATTACH`, and PRAGMAs whose effect would outlive the
/// transaction are refused with [`Error::Refused`](crate::Error::Refused).
pub struct WriteTransaction {
    read: ReadTransaction,
}

/// The writer's connection alone, without a transaction: for `VACUUM`, `ATTACH` and PRAGMAs.
///
/// Afterwards it is closed and opened anew, so nothing that is set in it outlives the body; a transaction that is
/// left open is rolled back and is an error. Nothing else of the same manager can be called from the body.
pub struct Connection {
    read: ReadTransaction,
}

/// A statement under way; `.await` it.
///
/// # Cancel safety
///
/// Dropped before it was awaited or while it waits for its turn, it never runs. Dropped while it runs on a thread,
/// it is interrupted; in a write transaction, which can then only roll back, whatever the body returns.
#[must_use = "a statement does nothing unless it is awaited"]
pub struct Statement<'a, T>(Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>);

impl<T> Future for Statement<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl ReadTransaction {
    /// All rows, each as a `T`: a struct by column names, a tuple of exactly as many columns, or a scalar of exactly
    /// one.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(db: &mut ReadTransaction) -> Result<()> {
    /// let pairs: Vec<(u64, String)> = db.query("SELECT id, name FROM user WHERE id < ?1", (10,)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// SQLite's errors ([`Error::Sqlite`](crate::Error::Sqlite)), parameters or columns that do not fit, and the end of the transaction
    /// ([`Error::TransactionLost`](crate::Error::TransactionLost),
    /// [`Error::HandleEnded`](crate::Error::HandleEnded)).
    pub fn query<'a, T>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, Vec<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.statement(sql, params, |statement| row::all(statement.raw_query()))
    }

    /// The one row of the result.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query); [`Error::NoRows`](crate::Error::NoRows) and
    /// [`Error::TooManyRows`](crate::Error::TooManyRows) unless there is exactly one.
    pub fn query_one<'a, T>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.statement(sql, params, |statement| row::one(statement.raw_query()))
    }

    /// The row of the result, if there is one.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query); [`Error::TooManyRows`](crate::Error::TooManyRows) when there are several.
    pub fn query_optional<'a, T>(
        &'a mut self,
        sql: &'a str,
        params: impl Params,
    ) -> Statement<'a, Option<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.statement(sql, params, |statement| {
            row::optional(statement.raw_query())
        })
    }

    /// All rows through a closure, which runs in the body and may borrow from it.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(db: &mut ReadTransaction) -> Result<()> {
    /// let names = db.query_map("SELECT name FROM user", (), |row| row.get::<String>("name")).await?;
    /// # let _ = names; Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), and the closure's own.
    pub fn query_map<'a, T: 'a>(
        &'a mut self,
        sql: &'a str,
        params: impl Params,
        mut map: impl FnMut(&Row) -> Result<T> + Send + 'a,
    ) -> Statement<'a, Vec<T>> {
        let rows = self.statement(sql, params, |statement| row::owned(statement.raw_query()));
        Statement(Box::pin(async move {
            rows.await?.iter().map(&mut map).collect()
        }))
    }

    /// Runs a closure with the bare [`rusqlite::Connection`], on a thread of its own: for what this API does not
    /// offer.
    ///
    /// The transaction is guarded here too: transaction control is refused. The closure must not replace the
    /// connection's hooks (authorizer, progress, commit), and should not leave rows or statements unfinished.
    ///
    /// # Errors
    ///
    /// The closure's own, and the end of the transaction.
    #[expect(clippy::disallowed_types, reason = "the one place where it is shown")]
    pub fn call<T, F>(&mut self, closure: F) -> Statement<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T> + Send + 'static,
    {
        self.run(Work::Closure(Some(Box::new(closure))))
    }

    pub(crate) fn new(frame: Arc<Frame>) -> Self {
        Self { frame }
    }

    fn statement<'a, T: Send + 'static>(
        &'a mut self,
        sql: &'a str,
        params: impl Params,
        finish: fn(&mut rusqlite::Statement<'_>) -> Result<T>,
    ) -> Statement<'a, T> {
        match params.into_params() {
            Ok(params) => self.run(Work::Statement {
                sql: Cow::Borrowed(sql),
                params,
                finish,
            }),
            Err(error) => Statement(Box::pin(std::future::ready(Err(error)))),
        }
    }

    fn run<'a, T: Send + 'static>(&'a mut self, work: Work<'a, T>) -> Statement<'a, T> {
        Statement(Box::pin(self.frame.statement(work)))
    }

    fn write<'a>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, usize> {
        self.statement(sql, params, |statement| {
            // A statement that returns rows (RETURNING, a PRAGMA) is run to its end.
            if statement.column_count() == 0 {
                return Ok(statement.raw_execute()?);
            }
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            Ok(0)
        })
    }

    fn write_batch<'a>(&'a mut self, sql: &'a str) -> Statement<'a, ()> {
        self.run(Work::Script {
            sql: Cow::Borrowed(sql),
            finish: || (),
        })
    }

    fn newest_rowid(&mut self) -> Statement<'_, i64> {
        let frame = &self.frame;
        Statement(Box::pin(async move {
            frame.check()?;
            Ok(frame.session.last_rowid())
        }))
    }
}

macro_rules! write_statements {
    ($handle:ident) => {
        impl $handle {
            /// Runs one statement that writes and returns how many rows it changed.
            ///
            /// # Errors
            ///
            /// As [`ReadTransaction::query`].
            pub fn execute<'a>(
                &'a mut self,
                sql: &'a str,
                params: impl Params,
            ) -> Statement<'a, usize> {
                self.read.write(sql, params)
            }

            /// Runs several statements, separated by semicolons, without parameters. It stops at the first error.
            ///
            /// # Errors
            ///
            /// As [`ReadTransaction::query`].
            pub fn execute_batch<'a>(&'a mut self, sql: &'a str) -> Statement<'a, ()> {
                self.read.write_batch(sql)
            }

            /// The row id of the newest row that this call inserted, 0 before the first.
            ///
            /// # Errors
            ///
            /// [`Error::HandleEnded`](crate::Error::HandleEnded) when the call has ended.
            pub fn last_insert_rowid(&mut self) -> Statement<'_, i64> {
                self.read.newest_rowid()
            }
        }

        impl Deref for $handle {
            type Target = ReadTransaction;

            fn deref(&self) -> &ReadTransaction {
                &self.read
            }
        }

        impl DerefMut for $handle {
            fn deref_mut(&mut self) -> &mut ReadTransaction {
                &mut self.read
            }
        }
    };
}

write_statements!(WriteTransaction);
write_statements!(Connection);

/// The three kinds of `db`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database handle",
    label = "write `&mut ReadTransaction`, `&mut WriteTransaction` or `&mut Connection`"
)]
pub trait Handle: sealed::Sealed + Send {}

mod sealed {
    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        const KIND: super::Kind;
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn new(frame: std::sync::Arc<super::Frame>) -> Self;
    }
}

pub(crate) use sealed::Sealed as NewHandle;

macro_rules! handle {
    ($handle:ident, $kind:ident, $frame:ident => $new:expr) => {
        #[diagnostic::do_not_recommend]
        impl Handle for $handle {}

        #[allow(private_interfaces)]
        impl sealed::Sealed for $handle {
            const KIND: Kind = Kind::$kind;

            fn new($frame: Arc<Frame>) -> Self {
                $new
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle)).finish_non_exhaustive()
            }
        }
    };
}

handle!(ReadTransaction, Read, frame => Self { frame });
handle!(WriteTransaction, Write, frame => Self { read: ReadTransaction::new(frame) });
handle!(Connection, Connection, frame => Self { read: ReadTransaction::new(frame) });

impl<T> fmt::Debug for Statement<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}
