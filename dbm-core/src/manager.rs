//! The traits that a manager is made of, and the way into its calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::call::count;
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::config::Config;
use crate::engine::{Restored, Verification};
#[expect(unused_imports, reason = "the documentation links to it")]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "jobs")]
use crate::jobs::{JobKind, Jobs, Kinds};
use crate::lifecycle::{self, BackUp};
use crate::live::Live;
use crate::manager_core::ManagerCore;
use crate::metrics::Metrics;
use crate::schema::Schema;
use crate::status::Status;
use crate::version::Version;

/// A struct that manages one SQLite database; derive it with `#[derive(DbManager)]`.
///
/// ```
/// use dbm_core::prelude::*;
///
/// #[derive(DbManager)]
/// #[db_manager(version = "1.0.0")]
/// struct Store {
///     core: ManagerCore,
/// }
///
/// impl Schema for Store {
///     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
///         db.execute("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT", ()).await?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// assert_eq!(store.status(), Status::Running);
/// store.close().await?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database manager",
    label = "write `#[derive(DbManager)]` on `{Self}`"
)]
pub trait DbManager: Shareable + Sized {
    /// The schema version that this program needs.
    const VERSION: Version;

    #[doc(hidden)]
    fn __core(&self) -> &ManagerCore;

    /// The jobs that the manager lists.
    #[cfg(feature = "jobs")]
    #[doc(hidden)]
    fn __jobs() -> Vec<JobKind<Self>> {
        Vec::new()
    }

    /// Where the derive asks for the schema. As a bound of this trait, a missing one would be an error at each use.
    #[doc(hidden)]
    fn __begin(start: lifecycle::Start<Self>, here: bool) -> Arc<Self>;

    /// Starts a manager and returns at once; start-up goes on in the background, and calls wait for it.
    ///
    /// Needs a tokio runtime, with or without time enabled. Without one it neither fails nor panics:
    /// [`ensure_ready`](Self::ensure_ready) and every call report the error.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f<Store: DbManager + dbm_core::FromCore>() -> Result<()> {
    /// let store = Store::start(Config::new("data"));
    /// // … other things that take a while …
    /// store.ensure_ready().await?;
    /// # Ok(()) }
    /// ```
    fn start(config: Config) -> Arc<Self>
    where
        Self: FromCore,
    {
        let start = lifecycle::Start::from_core(config, Self::VERSION, Self::from_core);
        Self::__begin(start, false)
    }

    /// [`start`](Self::start) for a struct with fields that are not `Default`: `build` puts the core where it belongs.
    fn start_with(config: Config, build: impl FnOnce(ManagerCore) -> Self) -> Arc<Self> {
        Self::__begin(lifecycle::Start::new(config, Self::VERSION, build), false)
    }

    /// Starts a manager and waits until it runs.
    ///
    /// # Errors
    ///
    /// Why start-up failed:
    ///
    /// - [`Error::Config`], [`Error::Runtime`]: the settings, or the runtime, cannot be used;
    /// - [`Error::Io`], [`Error::Sqlite`], [`Error::Busy`]: the directory or the file cannot be used;
    /// - [`Error::ForeignDatabase`], [`Error::VersionNameTaken`], [`Error::InvalidVersion`], [`Error::TooNew`]: the file is not
    ///   this program's, or is newer;
    /// - [`Error::NoDatabase`], [`Error::TooOld`], [`Error::NotReadable`]: with [`Config::read_only`], something would have to be
    ///   written;
    /// - [`Error::ForeignLog`]: the log beside the file was written for another one;
    /// - [`Error::Timeout`]: inspecting the file took more than 30 s, because its schema was crafted to take long;
    /// - [`Error::MigrationRefused`], [`Error::ForeignKeys`], [`Error::Backup`]: the migration failed;
    /// - whatever `init_db` or `migrate_db` returned; [`Error::Panicked`] if one of them panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its first poll, it does nothing. Dropped later, it leaves start-up running in the background. Once
    /// that has ended, the manager ends like one that is dropped without [`close`](Self::close).
    fn create(config: Config) -> impl Future<Output = Result<Arc<Self>>> + Send
    where
        Self: FromCore,
    {
        async move {
            let start = lifecycle::Start::from_core(config, Self::VERSION, Self::from_core);
            ready(Self::__begin(start, true)).await
        }
    }

    /// [`create`](Self::create) for a struct with fields that are not `Default`: `build` puts the core where it
    /// belongs.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// #[derive(DbManager)]
    /// #[db_manager(version = "1.0.0")]
    /// struct Store {
    ///     core: ManagerCore,
    ///     started: std::time::Instant,
    /// }
    /// # impl Schema for Store {
    /// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// let started = std::time::Instant::now();
    /// let store = Store::create_with(Config::in_memory(), |core| Store { core, started }).await?;
    /// # assert_eq!(store.started, started);
    /// # store.close().await }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    fn create_with(
        config: Config,
        build: impl FnOnce(ManagerCore) -> Self,
    ) -> impl Future<Output = Result<Arc<Self>>> + Send {
        // Built at once, since `build` need not be Send; started when polled, inside the runtime.
        let start = lifecycle::Start::new(config, Self::VERSION, build);
        async move { ready(Self::__begin(start, true)).await }
    }

    /// Waits until start-up has ended; the answer is the same every time.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create); [`Error::FromInside`] when called from inside a call or a hook of this manager.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    fn ensure_ready(&self) -> impl Future<Output = Result<()>> + Send {
        lifecycle::ensure_ready(self.__core().gate())
    }

    /// The current status. It may have changed by the time the answer is used.
    fn status(&self) -> Status {
        self.__core().gate().status()
    }

    /// Follows the status without polling. The receiver keeps nothing open. Once the manager is gone, it reports that its
    /// sender was dropped.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(store: &impl DbManager) {
    /// let mut status = store.watch_status();
    /// let _ = status.wait_for(|status| *status == Status::Stopped).await;
    /// # }
    /// ```
    fn watch_status(&self) -> watch::Receiver<Status> {
        self.__core().gate().watch()
    }

    /// The version that is stored in the database. A call like any other: inside a call of this manager, and inside
    /// `init_db` and `migrate_db`, it joins the transaction.
    ///
    /// # Errors
    ///
    /// As any call ([`Error::Closed`], [`Error::Failed`], [`Error::AcquireTimeout`], …); [`Error::InvalidVersion`] when
    /// the table has been tampered with.
    fn get_version(&self) -> impl Future<Output = Result<Version>> + Send {
        lifecycle::get_version(self.__core())
    }

    /// Stores another version, for a migration by hand. A call like any other; inside a write transaction it joins.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(store: &impl DbManager) -> Result<()> {
    /// store.update_version(&Version::new(1, 3, 0)).await?;
    /// assert_eq!(store.get_version().await?, Version::new(1, 3, 0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Config`] for a version that the table cannot hold, [`Error::InvalidVersion`] when the table
    /// has not exactly one row.
    fn update_version(&self, version: &Version) -> impl Future<Output = Result<()>> + Send {
        lifecycle::update_version(self.__core(), version)
    }

    /// Checks the whole file: its pages, indexes, `NOT NULL` and `UNIQUE` (`PRAGMA integrity_check`), each foreign key, and
    /// whether the schema is the one that `init_db` makes. `CHECK` constraints are left out: SQLite does not check them on a
    /// connection that cannot write. If damage stops the check early, what was found until then is kept.
    ///
    /// It is a read like any other, of one snapshot, and takes as long as reading the whole file. Then `init_db` runs once more,
    /// as [`SchemaDrift`](crate::SchemaDrift) says; with [`SchemaDrift::Ignore`](crate::SchemaDrift::Ignore) it does not, and
    /// the schema is not compared.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(store: &impl DbManager) -> Result<()> {
    /// let found = store.verify().await?;
    /// if !found.is_sound() {
    ///     eprintln!("{found}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As any call. Damage is a finding, not an error.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it ends the check.
    fn verify(&self) -> impl Future<Output = Result<Verification>> + Send {
        lifecycle::verify(self.__core())
    }

    /// Copies the database to a new file while it is in use. The copy is the state after one commit. Calls go on, those that
    /// write, too; the write-ahead log grows by what they write until the copy is complete.
    ///
    /// The file is made under the name `<to>.unfinished`, checked (`PRAGMA quick_check`), synced, and then given its name. It has
    /// the mode of the database, and no side files. So there is never a part of a backup under that name, not even after a
    /// crash. Read it with [`restore`](Self::restore), or as any other database.
    ///
    /// By default it copies 256 pages (1 MiB) about every 20 ms, and checks at half speed: see [`BackUp::at_full_speed`].
    /// [`Config::max_read_age`] does not end it.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f(store: &impl DbManager) -> Result<()> {
    /// store.back_up("copies/monday.db").progress(|done, all| println!("{done} of {all} pages")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::TargetExists`], also if `to` is the database itself; [`Error::LogBeside`] if a log lies beside it;
    /// - [`Error::Io`] or [`Error::Sqlite`] if it cannot be written: the directory is missing, the disk is full;
    /// - [`Error::Backup`] if it is not sound, because the database is not;
    /// - [`Error::Closed`] if [`close_within`](Self::close_within) has ended it, and as any call.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it ends the copy and removes what it has written, on its own thread a moment later. Dropped at its end, it may
    /// have made the whole backup.
    fn back_up(&self, to: impl Into<PathBuf>) -> BackUp<'_> {
        BackUp::new(self.__core(), to.into())
    }

    /// Puts a backup in the place of a database that is closed: [`restore`](crate::restore) with the version that this program
    /// needs. The next start migrates an older backup.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # async fn f<Store: DbManager + dbm_core::FromCore>() -> Result<()> {
    /// let restored = Store::restore("copies/monday.db", Config::new("data")).await?;
    /// println!("the file that was replaced is {:?}", restored.replaced);
    /// let store = Store::create(Config::new("data")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`restore`](crate::restore).
    ///
    /// # Cancel safety
    ///
    /// As [`restore`](crate::restore).
    fn restore(
        backup: impl Into<PathBuf> + Send,
        config: Config,
    ) -> impl Future<Output = Result<Restored>> + Send {
        let at_most = config.version.clone().unwrap_or(Self::VERSION);
        lifecycle::restore(backup, config, at_most)
    }

    /// The jobs that have failed for good, to list, retry and discard them, and those that a restore holds.
    #[cfg(feature = "jobs")]
    fn jobs(&self) -> Jobs<'_> {
        Jobs::of(self.__core())
    }

    /// Refuses new calls, lets running and queued ones finish, and closes the database. No side files are left unless
    /// another process has the file open. During start-up it waits for that first.
    ///
    /// A second or concurrent close waits for the same end. Closing a failed manager does nothing. A close waits as long
    /// as the running calls take; [`close_within`](Self::close_within) has a limit. Within a second of the start, it may also
    /// compare the schema with `init_db` ([`SchemaDrift::Warn`](crate::SchemaDrift::Warn)).
    ///
    /// A manager that is dropped without `close` loses nothing that was acknowledged, but leaves its write-ahead log
    /// beside the file, and a WARN.
    ///
    /// # Errors
    ///
    /// [`Error::FromInside`] when called from inside a call of this manager.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: closing goes on.
    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        lifecycle::close(self.__core().gate())
    }

    /// [`close`](Self::close), but calls that still run after `limit` are interrupted and rolled back. They and the
    /// queued ones get [`Error::Closed`]. A body that waits for something other than the database is not waited for: its
    /// transaction is taken from it, and its next statement, or its end, reports that.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # use std::time::Duration;
    /// # async fn f(store: &impl DbManager) -> Result<()> {
    /// store.close_within(Duration::from_secs(10)).await?;
    /// assert_eq!(store.status(), Status::Stopped);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropped before `limit` has passed, it goes on as a [`close`](Self::close), which interrupts nothing.
    fn close_within(&self, limit: Duration) -> impl Future<Output = Result<()>> + Send {
        lifecycle::close_within(self.__core().gate(), limit)
    }

    /// A read that is made again after each commit that may have changed its result: for a page, or a dashboard.
    ///
    /// `read` is called at once, and then after each commit that has written a table that it has read. The tables are known from
    /// SQLite itself, through views, triggers, foreign keys and full-text indexes. A commit may wake it without changing its
    /// result, see [`Live::distinct`]; none that changes it is missed. Commits that come while it reads are in the next value,
    /// which is at least as new as the last of them.
    ///
    /// One annotated method that reads is one snapshot; several in one closure are not. What it does not read through this
    /// manager wakes nobody, nor does what a task reads that it has spawned. A read that fails gives its error as a value and is
    /// made again, after the next commit at the latest. Writing in it is [`Error::Refused`].
    ///
    /// These wake every live read: a write method that uses `call`, a method with the bare `Connection`, a change of the
    /// schema. A read that uses `call` or a PRAGMA, or that looks at a virtual table whose content lies elsewhere, is woken by every
    /// commit. Commits of other processes wake nobody, unless you ask for them: [`Live::other_processes`].
    ///
    /// It ends with the manager: at `close`, or when the last `Arc` of it is gone.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # #[derive(DbManager)]
    /// # #[db_manager(version = "1.0.0")]
    /// # struct Store { core: ManagerCore }
    /// # impl Schema for Store {
    /// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
    /// #         db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT").await
    /// #     }
    /// # }
    /// impl Store {
    ///     #[database_safe]
    ///     async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
    ///         db.query_one("SELECT count(*) FROM user", ()).await
    ///     }
    /// #   #[database_safe]
    /// #   async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
    /// #       db.execute("INSERT INTO user (name) VALUES (?1)", (name,)).await?;
    /// #       Ok(())
    /// #   }
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// # let store = Store::create(Config::in_memory()).await?;
    /// let mut counts = store.live(|store| async move { store.count().await });
    /// assert_eq!(counts.next().await.transpose()?, Some(0));
    /// store.add("Ada").await?;
    /// assert_eq!(counts.next().await.transpose()?, Some(1));
    /// store.close().await?;
    /// assert!(counts.next().await.is_none());
    /// # Ok(()) }
    /// ```
    fn live<R, F>(
        self: &Arc<Self>,
        mut read: impl FnMut(Arc<Self>) -> F + Send + 'static,
    ) -> Live<R>
    where
        F: Future<Output = R> + Send + 'static,
        R: 'static,
        Self: Send + Sync + 'static,
    {
        let gate = self.__core().gate();
        let (manager, place) = (Arc::downgrade(self), Arc::downgrade(gate));
        Live::new(
            gate.id,
            Arc::clone(&gate.live),
            move || {
                let manager: Arc<Self> = manager.upgrade()?;
                Some(Box::pin(read(manager)))
            },
            move || {
                if let Some(gate) = place.upgrade()
                    && let Some(Ok(database)) = gate.answer()
                {
                    database.look_for_foreign_commits();
                }
            },
        )
    }

    /// What this manager has done and does at the moment, as plain numbers: for a page of figures, or to export them.
    ///
    /// It can be asked at any time, in every status. Nothing waits for it, and it waits for nothing. The numbers belong to this
    /// manager alone, also if another one has the same file or the same type. They are in memory only: a new manager
    /// begins at 0.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # #[derive(DbManager)]
    /// # #[db_manager(version = "1.0.0")]
    /// # struct Store { core: ManagerCore }
    /// # impl Schema for Store {
    /// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
    /// # }
    /// # impl Store {
    /// #     #[database_safe]
    /// #     async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
    /// #         db.query_one("SELECT count(*) FROM sqlite_schema", ()).await
    /// #     }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// let store = Store::create(Config::in_memory().histograms()).await?;
    /// store.count().await?;
    /// let metrics = store.metrics();
    /// let count = &metrics.methods[0];
    /// assert_eq!((count.method, count.calls.ok), ("count", 1));
    /// assert_eq!(count.times.as_ref().map(|times| times.running.count()), Some(1));
    /// # store.close().await }
    /// ```
    fn metrics(&self) -> Metrics {
        count::metrics(self.__core())
    }

    /// The end of a program in one line: waits for Ctrl-C or, on Unix, SIGTERM, and then does
    /// [`close_within`](Self::close_within). A second signal interrupts the calls that still run, without waiting for `limit`.
    /// If the manager ends before a signal comes, it returns at once.
    ///
    /// Needs the feature `signal`, and a runtime with I/O enabled, as `#[tokio::main]` makes it. From then on the process
    /// does not end by these signals alone.
    ///
    /// ```no_run
    /// # use dbm_core::prelude::*;
    /// # use std::time::Duration;
    /// # async fn f<Store: DbManager + dbm_core::FromCore>() -> Result<()> {
    /// let store = Store::create(Config::new("data")).await?;
    /// // … tasks that use it …
    /// store.close_on_signal(Duration::from_secs(10)).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`close_within`](Self::close_within); [`Error::Runtime`] without I/O in the runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped before a signal has come, it changes nothing. Later it is as [`close_within`](Self::close_within).
    #[cfg(feature = "signal")]
    fn close_on_signal(&self, limit: Duration) -> impl Future<Output = Result<()>> + Send {
        lifecycle::close_on_signal(self.__core().gate(), limit)
    }

    /// The database file, as an absolute path; `None` until the manager runs, and when its start failed.
    fn path(&self) -> Option<&Path> {
        self.__core().path()
    }
}

/// The way into the call pipeline: what `#[database_safe]` generates.
///
/// ```
/// # use dbm_core::prelude::*;
/// use dbm_core::call::{Site, call};
///
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// # }
/// impl Store {
///     async fn tables(&self) -> Result<u64> {
///         static SITE: Site = Site::new(module_path!(), "tables").timeout_ms(500);
///         call(&SITE, self)
///             .on::<ReadTransaction>()
///             .returning::<Result<u64>>()
///             .run(async |mut db: ReadTransaction| {
///                 db.query_one("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", ()).await
///             })
///             .await
///             .into_result()
///     }
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// assert_eq!(store.tables().await?, 1);
/// # store.close().await }
/// ```
pub fn call<'a, M: DbManager>(site: &'static Site, manager: &'a M) -> Call<'a> {
    Call::new(site, manager.__core())
}

/// A manager is shared among tasks. The derive implements it. Were the two bounds those of [`DbManager`] itself, a field
/// that does not meet them would be an error at each use of the manager.
pub trait Shareable: Send + Sync {}

/// Begins a start; see [`DbManager::__begin`].
pub fn begin<M: DbManager + Schema + 'static>(start: lifecycle::Start<M>, here: bool) -> Arc<M> {
    #[cfg(feature = "jobs")]
    let start = match M::__jobs() {
        jobs if jobs.is_empty() => start,
        jobs => start.with_jobs(Kinds::new(jobs, M::__core)),
    };
    start.begin(here)
}

async fn ready<M: DbManager>(manager: Arc<M>) -> Result<Arc<M>> {
    manager.ensure_ready().await?;
    Ok(manager)
}

/// Makes a manager around its core; the derive implements it for structs whose other fields are `Default`.
///
/// It is a bound of [`DbManager::start`] and [`DbManager::create`], and of code that is generic over managers and calls
/// them.
pub trait FromCore: Sized {
    #[doc(hidden)]
    fn from_core(core: ManagerCore) -> Self;
}

/// A field other than the core, if the manager is made from a configuration alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no default, so this manager cannot be made from a configuration alone",
    label = "write `start_with` or `create_with` and give the fields"
)]
pub trait DefaultField {
    #[doc(hidden)]
    fn make() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> DefaultField for T {
    fn make() -> Self {
        Self::default()
    }
}
