//! What a body receives: the handle says what the method may do.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Access, Finish, Work, changed};
use crate::error::{Error, Result};
use crate::frame::{AnyFrame, Started, StatementPermit, Waiting};
use crate::params::Params;
use crate::row::{self, FromRow, Row};
use crate::stream::RowStream;

/// One consistent snapshot of the database; it cannot write.
///
/// It runs on a connection of its own, beside the writer and beside other reads, and sees every write that was
/// acknowledged before the call began. What others write meanwhile it does not see. A statement that writes is refused,
/// by SQLite itself and in any wording.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT").await
/// #     }
/// # }
/// impl Store {
///     /// Both statements see the same state.
///     #[database_safe]
///     async fn share(&self, db: &mut ReadTransaction, id: u64) -> Result<f64> {
///         let all: f64 = db.query_one("SELECT total(cents) FROM account", ()).await?;
///         let one: f64 = db.query_one("SELECT total(cents) FROM account WHERE id = ?1", (id,)).await?;
///         Ok(if all == 0.0 { 0.0 } else { one / all })
///     }
///
///     #[database_safe]
///     async fn sneak(&self, db: &mut ReadTransaction) -> Result<Vec<u64>> {
///         db.query("INSERT INTO account (cents) VALUES (1) RETURNING id", ()).await
///     }
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// # assert_eq!(store.share(1).await?, 0.0);
/// assert!(matches!(store.sneak().await, Err(Error::Refused { .. })));
/// # store.close().await }
/// ```
pub struct ReadTransaction {
    frame: AnyFrame,
}

/// The one write transaction of a manager: it commits when the body returns `Ok`, and rolls back on `Err`, a panic,
/// a timeout and a cancellation.
///
/// Calls get it first come first served. It is a `BEGIN IMMEDIATE`, so what it has read stays true until it has written.
/// Waiting writers may share a commit. Each has a savepoint of its own, and none is acknowledged before that commit.
///
/// It derefs to [`ReadTransaction`], so a helper `async fn f(db: &mut ReadTransaction)` serves both. Transaction
/// control in SQL (`BEGIN`, `COMMIT`, `SAVEPOINT`, …), `ATTACH`, and PRAGMAs whose effect would outlive the
/// transaction are refused with [`Error::Refused`](crate::Error::Refused).
///
/// TEMP objects last until the end of the call that makes them, which may be a nested call. A TEMP object with the name
/// of a real table or view is refused: what is written to it would be lost as well.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
/// #             INSERT INTO account VALUES (1, 100), (2, 0)").await
/// #     }
/// # }
/// async fn balance(db: &mut ReadTransaction, id: u64) -> Result<i64> {
///     db.query_one("SELECT cents FROM account WHERE id = ?1", (id,)).await
/// }
///
/// impl Store {
///     #[database_safe]
///     async fn transfer(&self, db: &mut WriteTransaction, from: u64, to: u64, cents: i64) -> Result<()> {
///         let sql = "UPDATE account SET cents = cents + ?2 WHERE id = ?1";
///         db.execute(sql, (to, cents)).await?;
///         db.execute(sql, (from, -cents)).await?;
///         if balance(db, from).await? < 0 {
///             return Err(Error::other("not enough on the account")); // undoes both
///         }
///         Ok(())
///     }
/// #   #[database_safe]
/// #   async fn balance(&self, db: &mut ReadTransaction, id: u64) -> Result<i64> { balance(db, id).await }
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// store.transfer(1, 2, 70).await?;
/// assert!(store.transfer(1, 2, 70).await.is_err());
/// # assert_eq!((store.balance(1).await?, store.balance(2).await?), (30, 70));
/// # store.close().await }
/// ```
pub struct WriteTransaction {
    read: ReadTransaction,
}

/// The writer's connection alone, without a transaction: for `VACUUM`, `ATTACH` and PRAGMAs.
///
/// It waits in the same queue as the writers. Each statement commits by itself, so an `Err` of the body undoes nothing.
/// Where that matters, write `BEGIN` and `COMMIT` into the SQL. After the body the connection is closed and reopened, so
/// no setting outlives the body. A transaction that is left open is rolled back and is an
/// [error](crate::Error::TransactionLeftOpen). The body cannot call any other method of the same manager. If the file was
/// removed or replaced meanwhile, the call fails with [`Error::FileReplaced`](crate::Error::FileReplaced).
///
/// `ATTACH` takes an existing file; it does not create one. `VACUUM INTO` does.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// # }
/// impl Store {
///     #[database_safe]
///     async fn tidy(&self, db: &mut Connection) -> Result<()> {
///         db.execute_batch("VACUUM; ANALYZE").await
///     }
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// # store.tidy().await?;
/// # store.close().await }
/// ```
pub struct Connection {
    read: ReadTransaction,
}

/// A statement under way; `.await` it.
///
/// It borrows the handle, so a body has one statement at a time; nested calls that run side by side (`join!`) take turns.
/// The library decides where it runs: here if it is known to be short, otherwise on a thread of its own.
///
/// # Cancel safety
///
/// Dropped before it was awaited, or while it waits for its turn, it never runs. Dropped while it runs on a thread, it is
/// interrupted; a write transaction can then only roll back, whatever the body returns. Leaked while it runs
/// (`std::mem::forget`), it is interrupted by the next statement or at the end of the body, and the call fails with
/// [`Error::StatementDropped`](crate::Error::StatementDropped).
#[must_use = "a statement does nothing unless it is awaited"]
pub struct Statement<'a, T>(Stage<'a, T>);

enum Stage<'a, T> {
    New {
        frame: &'a AnyFrame,
        work: Work<'a, T>,
        /// A function pointer, because only what can be sent to a thread can wait. The closure of `query_map` cannot be
        /// sent.
        wait: Wait<'a, T>,
    },
    Waiting(Waiting<'a, T>),
    Ended,
}

type Wait<'a, T> = fn(&'a AnyFrame, Work<'a, T>, Option<StatementPermit<'a>>) -> Waiting<'a, T>;

impl<'a, T> Statement<'a, T> {
    fn waiting(future: impl Future<Output = Result<T>> + Send + 'a) -> Self {
        Self(Stage::Waiting(Box::pin(future)))
    }
}

impl<T> Future for Statement<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = match std::mem::replace(&mut self.0, Stage::Ended) {
            Stage::New {
                frame,
                mut work,
                wait,
            } => {
                // A short statement is done at once, without a box.
                match frame.try_statement(&mut work) {
                    Started::Done(result) => return Poll::Ready(result),
                    Started::OnLane(turn) => wait(frame, work, Some(turn)),
                    Started::NotYet => wait(frame, work, None),
                }
            }
            Stage::Waiting(future) => future,
            Stage::Ended => return Poll::Ready(Err(Error::HandleEnded)),
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Stage::Waiting(future);
        }
        polled
    }
}

impl ReadTransaction {
    /// All rows, each as a `T`: a struct by column names (further columns are ignored), a tuple of exactly as many
    /// columns, or a scalar of exactly one.
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
    /// - [`Error::Sqlite`](crate::Error::Sqlite): SQLite's own, such as a syntax error or a violated constraint;
    /// - [`Error::Refused`](crate::Error::Refused): the handle does not allow it, a write in a read for example;
    /// - [`Error::Parameter`](crate::Error::Parameter), [`Error::ParameterCount`](crate::Error::ParameterCount): the
    ///   parameters do not fit;
    /// - [`Error::Column`](crate::Error::Column), [`Error::RowShape`](crate::Error::RowShape): the rows do not fit `T`;
    /// - [`Error::TransactionLost`](crate::Error::TransactionLost), [`Error::BatchLost`](crate::Error::BatchLost),
    ///   [`Error::StatementDropped`](crate::Error::StatementDropped), [`Error::HandleEnded`](crate::Error::HandleEnded),
    ///   [`Error::Closed`](crate::Error::Closed): the transaction is over, and all later statements of the call fail.
    ///
    /// # Cancel safety
    ///
    /// That of [`Statement`].
    pub fn query<'a, T>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, Vec<T>>
    where
        T: FromRow,
    {
        self.statement(sql, params, |found| row::all(found.rows()))
    }

    /// The one row of the result.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(db: &mut ReadTransaction) -> Result<()> {
    /// let count: u64 = db.query_one("SELECT count(*) FROM user", ()).await?;
    /// # let _ = count; Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query); [`Error::NoRows`](crate::Error::NoRows) and
    /// [`Error::TooManyRows`](crate::Error::TooManyRows) unless there is exactly one.
    pub fn query_one<'a, T>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, T>
    where
        T: FromRow,
    {
        self.statement(sql, params, |found| row::one(found.rows()))
    }

    /// The row of the result, if there is one.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct User {
    ///     id: u64,
    ///     name: String,
    /// }
    /// # async fn f(db: &mut ReadTransaction) -> Result<()> {
    /// let user: Option<User> = db.query_optional("SELECT id, name FROM user WHERE id = ?1", (7,)).await?;
    /// # let _ = user.map(|user| (user.id, user.name)); Ok(()) }
    /// ```
    ///
    /// A `T` that is itself an `Option` is for a column that may be NULL: `query_optional::<Option<String>>` gives `None`
    /// without a row and `Some(None)` for NULL.
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
        T: FromRow,
    {
        self.statement(sql, params, |found| row::optional(found.rows()))
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
        let rows = self.statement(sql, params, |found| row::owned(found.rows()));
        Statement::waiting(async move { rows.await?.iter().map(&mut map).collect() })
    }

    /// The rows one after the other, for a result of any size: a few chunks of it are in memory at a time, each of about
    /// 64 KiB.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(db: &mut ReadTransaction) -> Result<()> {
    /// let mut longest = String::new();
    /// let mut names = db.stream::<String>("SELECT name FROM user", ());
    /// while let Some(name) = names.next().await? {
    ///     if name.len() > longest.len() {
    ///         longest = name;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// The rows are those of the call's transaction, however long the loop takes, and `T` is read as in
    /// [`query`](Self::query). While the loop waits for something else, the statement waits as well. The stream ends with
    /// the body at the latest. To hand rows to others, send them into a bounded channel from here.
    ///
    /// A statement that writes (`INSERT … RETURNING`) makes all its changes before the first row comes, as with `query`.
    /// Its rows are all in memory, and its changes stay if the stream is dropped then.
    ///
    /// The statement runs on a thread, unless the library knows that it is short. Then its rows are one chunk, of up to
    /// 1 MiB.
    ///
    /// # Errors
    ///
    /// Those of [`query`](Self::query) come from [`next`](RowStream::next).
    ///
    /// # Cancel safety
    ///
    /// That of [`RowStream`].
    pub fn stream<'a, T>(&'a mut self, sql: &'a str, params: impl Params) -> RowStream<'a, T>
    where
        T: FromRow,
    {
        RowStream::new(&self.frame, sql, params)
    }

    /// Runs a closure with the bare [`rusqlite::Connection`], on a thread of its own: for what this API does not
    /// offer.
    ///
    /// The transaction is guarded here too: transaction control is refused, and a read handle does not write. Replacing the
    /// authorizer ends the call with [`Error::Refused`](crate::Error::Refused), and so does a statement that is left
    /// unfinished.
    ///
    /// Nothing that the closure sets in the connection outlives its call. Hooks, a busy timeout and the switches of
    /// `set_db_config` end with the closure. Functions, collations, limits and the like last until the call ends. Then a
    /// new connection replaces this one, which takes about 0.1 ms. A function that a trigger, a view or a CHECK calls
    /// must be `FunctionFlags::SQLITE_INNOCUOUS`, unless [`Config::hardened`](crate::Config::hardened) is off.
    ///
    /// The closure is sent to another thread, so it must be a `move` closure that owns what it uses; convert a `&str` of
    /// the method to a `String` first.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// use dbm_core::rusqlite::OptionalExtension as _;
    ///
    /// # async fn f(db: &mut ReadTransaction, name: &str) -> Result<()> {
    /// let name = name.to_owned();
    /// let id = db
    ///     .call(move |connection| {
    ///         let mut statement = connection.prepare_cached("SELECT id FROM user WHERE name = ?1")?;
    ///         Ok(statement.query_row((name,), |row| row.get::<_, i64>(0)).optional()?)
    ///     })
    ///     .await?;
    /// # let _: Option<i64> = id; Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own, and the end of the transaction as in [`query`](Self::query).
    ///
    /// # Panics
    ///
    /// A panic in the closure continues in the body, and ends it like any other panic.
    ///
    /// # Cancel safety
    ///
    /// That of [`Statement`]. The closure itself cannot be stopped, only the statements that it runs.
    #[expect(clippy::disallowed_types, reason = "the one place where it is shown")]
    pub fn call<T, F>(&mut self, closure: F) -> Statement<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T> + Send + 'static,
    {
        self.run(Work::Closure(Some(Box::new(closure))))
    }

    /// Not offered: see the error of [`KnowsRowIds`].
    #[doc(hidden)]
    #[allow(private_bounds, clippy::missing_errors_doc)]
    pub fn last_insert_rowid(&mut self) -> Statement<'_, i64>
    where
        for<'a> Self: KnowsRowIds<'a>,
    {
        self.guess()
    }

    /// Not offered: see the error of [`Writes`].
    #[doc(hidden)]
    #[allow(private_bounds, clippy::missing_errors_doc)]
    pub fn execute<'a>(&'a mut self, _: &'a str, _: impl Params) -> Statement<'a, usize>
    where
        for<'b> Self: Writes<'b>,
    {
        Statement::waiting(std::future::pending())
    }

    /// Not offered: see the error of [`Writes`].
    #[doc(hidden)]
    #[allow(private_bounds, clippy::missing_errors_doc)]
    pub fn execute_batch<'a>(&'a mut self, _: &'a str) -> Statement<'a, ()>
    where
        for<'b> Self: Writes<'b>,
    {
        Statement::waiting(std::future::pending())
    }

    pub(crate) fn new(frame: AnyFrame) -> Self {
        Self { frame }
    }

    /// A statement whose rows are read.
    fn statement<'a, T: Send + 'static>(
        &'a mut self,
        sql: &'a str,
        params: impl Params,
        finish: Finish<T>,
    ) -> Statement<'a, T> {
        self.any_statement(sql, params, finish, true)
    }

    fn any_statement<'a, T: Send + 'static>(
        &'a mut self,
        sql: &'a str,
        params: impl Params,
        finish: Finish<T>,
        returns_rows: bool,
    ) -> Statement<'a, T> {
        match params.into_params() {
            Ok(params) => self.run(Work::Statement {
                sql: Cow::Borrowed(sql),
                params,
                finish,
                returns_rows,
            }),
            Err(error) => Statement::waiting(std::future::ready(Err(error))),
        }
    }

    fn run<'a, T: Send + 'static>(&'a mut self, work: Work<'a, T>) -> Statement<'a, T> {
        Statement(Stage::New {
            frame: &self.frame,
            work,
            wait: |frame, work, turn| frame.statement(work, turn),
        })
    }

    fn write<'a>(&'a mut self, sql: &'a str, params: impl Params) -> Statement<'a, usize> {
        self.any_statement(sql, params, changed, false)
    }

    fn write_batch<'a>(&'a mut self, sql: &'a str) -> Statement<'a, ()> {
        self.run(Work::Script {
            sql: Cow::Borrowed(sql),
            finish: || (),
        })
    }
}

impl WriteTransaction {
    /// The kind of database, as OpenTelemetry spells it.
    pub(crate) fn system(&self) -> &'static str {
        self.read.frame.system()
    }

    #[cfg(feature = "jobs")]
    pub(crate) fn frame(&self) -> &AnyFrame {
        &self.read.frame
    }
}

/// SQLite's last row id belongs to the connection, not to a call or a table,
/// <https://sqlite.org/c3ref/last_insert_rowid.html>. No handle implements this trait. A call of the familiar name is a
/// compile error that says why.
#[diagnostic::on_unimplemented(
    message = "there is no `last_insert_rowid`: SQLite's memory of it goes beyond the call and the table",
    label = "ask the INSERT itself, with `RETURNING`",
    note = "let id: i64 = db.query_one(\"INSERT INTO user (name) VALUES (?1) RETURNING id\", (name,)).await?;"
)]
trait KnowsRowIds<'a> {
    fn guess(&mut self) -> Statement<'_, i64>;
}

/// A snapshot writes nothing. [`ReadTransaction`] does not implement this trait, so `execute` on it is a compile error
/// that says what to write.
#[diagnostic::on_unimplemented(
    message = "a `ReadTransaction` cannot write",
    label = "declare `db: &mut WriteTransaction`",
    note = "rows are read with `query`, `query_one` or `query_optional`"
)]
trait Writes<'a> {}

macro_rules! write_statements {
    ($handle:ident) => {
        impl $handle {
            /// Runs one statement to its end and returns how many rows it inserted, changed or deleted itself. What its
            /// triggers and foreign keys do is not counted. A statement that changes no rows returns 0. One that makes or
            /// drops a virtual table may return what its module wrote.
            ///
            /// With `RETURNING` a statement returns what it wrote, for example the id of a new row: use
            /// [`query_one`](ReadTransaction::query_one) and the like.
            ///
            /// ```
            /// # use dbm_core::prelude::*;
            /// # async fn f(db: &mut WriteTransaction) -> Result<()> {
            /// let renamed = db.execute("UPDATE user SET name = ?2 WHERE id = ?1", (7, "Ada")).await?;
            /// # assert_eq!(renamed, 1); Ok(()) }
            /// ```
            ///
            /// # Errors
            ///
            /// As [`ReadTransaction::query`].
            ///
            /// # Cancel safety
            ///
            /// That of [`Statement`].
            pub fn execute<'a>(
                &'a mut self,
                sql: &'a str,
                params: impl Params,
            ) -> Statement<'a, usize> {
                self.read.write(sql, params)
            }

            /// Runs several statements, separated by semicolons, without parameters, each to its end. It stops at the
            /// first error; what ran before it stays until the body decides.
            ///
            /// ```
            /// # use dbm_core::prelude::*;
            /// # async fn f(db: &mut WriteTransaction) -> Result<()> {
            /// db.execute_batch(
            ///     "CREATE TABLE tag (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
            ///      CREATE UNIQUE INDEX tag_name ON tag (name)",
            /// )
            /// .await?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            ///
            /// As [`ReadTransaction::query`].
            pub fn execute_batch<'a>(&'a mut self, sql: &'a str) -> Statement<'a, ()> {
                self.read.write_batch(sql)
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

impl WriteTransaction {
    /// Runs a future once this transaction is durable: to tell others of what was written.
    ///
    /// The future belongs to the transaction, not to the caller. It runs even if the caller's future is dropped after the body
    /// has returned. It never runs if the work is undone: the body fails, or a call around it; the commit fails, or its
    /// outcome is unknown.
    ///
    /// Futures of one manager run one after the other, in the order of the commits and, within a call, of `after_commit`. They
    /// run in a task of the runtime in which the first one was given. The caller's `Ok` does not wait for them. A future
    /// that takes long delays the ones after it: spawn a task for that.
    ///
    /// A future that has not ended counts as a call. [`close`](crate::DbManager::close) waits for it, and it may still call
    /// the manager meanwhile. [`close_within`](crate::DbManager::close_within) drops it. To call either of them from inside it is
    /// [`Error::FromInside`](crate::Error::FromInside). A panic is logged, and the next one runs.
    ///
    /// In `init_db` and `migrate_db` it runs after their commit. In a check for drift it does not run.
    ///
    /// It is lost if the process or the runtime ends first. What must not be lost belongs in the database.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # #[derive(DbManager)]
    /// # #[db_manager(version = "1.0.0")]
    /// # struct Store { core: ManagerCore, news: tokio::sync::broadcast::Sender<String> }
    /// # impl Schema for Store {
    /// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
    /// #         db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT").await
    /// #     }
    /// # }
    /// impl Store {
    ///     #[database_safe]
    ///     async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
    ///         db.execute("INSERT INTO user (name) VALUES (?1)", (name,)).await?;
    ///         let (news, text) = (self.news.clone(), format!("{name} is new"));
    ///         db.after_commit(async move {
    ///             let _ = news.send(text);
    ///         })
    ///     }
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// # let (news, mut listener) = tokio::sync::broadcast::channel(8);
    /// # let store = Store::create_with(Config::in_memory(), |core| Store { core, news }).await?;
    /// store.add("Ada").await?;
    /// assert_eq!(listener.recv().await.unwrap(), "Ada is new");
    /// # store.close().await }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Runtime`](crate::Error::Runtime) outside of a tokio runtime; the end of the transaction as in
    /// [`query`](ReadTransaction::query).
    pub fn after_commit(
        &mut self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        self.read.frame.after_commit(future)
    }
}

write_statements!(WriteTransaction);
write_statements!(Connection);

impl WriteTransaction {
    /// Runs one statement for each row of parameters, prepared once, and returns how many rows of tables it changed.
    ///
    /// It succeeds or fails as one statement: if a row fails, the rows before it are undone, and the transaction can go on.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(db: &mut WriteTransaction, names: &[&str], notes: &[(i64, String)]) -> Result<()> {
    /// let rows = names.iter().map(|name| (name,));
    /// let added = db.execute_many("INSERT INTO user (name) VALUES (?1)", rows).await?;
    /// db.execute_many("INSERT INTO note (id, text) VALUES (?1, ?2)", notes).await?;
    /// # assert_eq!(added, names.len()); Ok(()) }
    /// ```
    ///
    /// The iterator is asked for rows in the body, some hundred at a time, while the statement runs for those before them.
    /// So it may be lazy and larger than memory, but it should not block. The rows that a statement returns are ignored,
    /// as by [`execute`](Self::execute).
    ///
    /// # Errors
    ///
    /// - [`Error::Row`](crate::Error::Row): the index of the row, from 0, and what [`execute`](Self::execute) says of it;
    /// - those of [`ReadTransaction::query`] that no single row causes, such as a syntax error.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves no row: it undoes them, or, if it was running on a thread, the transaction can only roll back, as
    /// after any dropped [`Statement`].
    pub fn execute_many<'a>(
        &'a mut self,
        sql: &'a str,
        rows: impl IntoIterator<Item = impl Params + 'a, IntoIter: Send + 'a>,
    ) -> Statement<'a, usize> {
        let rows = rows.into_iter();
        Statement::waiting(self.read.frame.execute_many(sql, rows))
    }
}

/// The three kinds of `db`: [`ReadTransaction`], [`WriteTransaction`] and [`Connection`]. There are no others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database handle",
    label = "write `&mut ReadTransaction`, `&mut WriteTransaction` or `&mut Connection`"
)]
pub trait Handle: sealed::Sealed + Send {}

mod sealed {
    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        const ACCESS: super::Access;
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn new(frame: super::AnyFrame) -> Self;
    }
}

pub(crate) use sealed::Sealed as NewHandle;

macro_rules! handle {
    ($handle:ident, $access:ident, $frame:ident => $new:expr) => {
        #[diagnostic::do_not_recommend]
        impl Handle for $handle {}

        #[allow(private_interfaces)]
        impl sealed::Sealed for $handle {
            const ACCESS: Access = Access::$access;

            fn new($frame: AnyFrame) -> Self {
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
