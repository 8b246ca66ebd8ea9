//! The traits that a manager is made of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::call::Gate;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::status::Status;
use crate::transaction::WriteTransaction;
use crate::version::{self, Version};

/// What a database looks like: how it is made, and how an older one is brought up to date.
///
/// Both methods run during start-up, in one transaction together with the version: all or nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema",
    label = "write `impl Schema for {Self}` with `init_db` and `migrate_db`"
)]
pub trait Schema: Send + Sync + 'static {
    /// Makes the tables of a new database. The table `Version` is there already.
    ///
    /// # Errors
    ///
    /// Any error fails the start and leaves nothing behind.
    fn init_db(&self, db: &mut WriteTransaction) -> impl Future<Output = Result<()>> + Send;

    /// Brings a database from the version `current` to `target`. The version itself is written afterwards.
    ///
    /// A backup has been made before. Foreign keys are off, so that tables can be rebuilt; they are checked at the
    /// end.
    ///
    /// # Errors
    ///
    /// An error or `Ok(false)` fails the start and leaves the file as it was.
    fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        current: &Version,
        target: &Version,
    ) -> impl Future<Output = Result<bool>> + Send;
}

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
///
///     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
///         Ok(false) // there is no older version yet
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
pub trait DbManager: Schema + Sized {
    /// The schema version that this program needs.
    const VERSION: Version;

    #[doc(hidden)]
    fn __core(&self) -> &ManagerCore;

    /// Starts a manager and returns at once; start-up goes on in the background, and calls wait for it.
    ///
    /// Needs a tokio runtime with time enabled. Never fails here: what goes wrong is told by
    /// [`ensure_ready`](Self::ensure_ready) and by every call.
    fn start(config: Config) -> Arc<Self>
    where
        Self: FromCore,
    {
        lifecycle::Start::new(config, Self::from_core).begin()
    }

    /// [`start`](Self::start) for a struct with fields that are not `Default`.
    fn start_with(config: Config, build: impl FnOnce(ManagerCore) -> Self) -> Arc<Self> {
        lifecycle::Start::new(config, build).begin()
    }

    /// Starts a manager and waits until it runs.
    ///
    /// # Errors
    ///
    /// Why start-up failed: the file or its directory cannot be used ([`Error::Io`], [`Error::Sqlite`],
    /// [`Error::Config`]), its version does not fit ([`Error::TooNew`], [`Error::InvalidVersion`],
    /// [`Error::ForeignDatabase`]), or `init_db` or `migrate_db` failed.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves start-up going on in the background; the manager is closed without further ado when that
    /// has ended.
    fn create(config: Config) -> impl Future<Output = Result<Arc<Self>>> + Send
    where
        Self: FromCore,
    {
        async move { ready(Self::start(config)).await }
    }

    /// [`create`](Self::create) for a struct with fields that are not `Default`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    fn create_with(
        config: Config,
        build: impl FnOnce(ManagerCore) -> Self,
    ) -> impl Future<Output = Result<Arc<Self>>> + Send {
        // Built at once, since `build` need not be Send; started when polled, inside the runtime.
        let start = lifecycle::Start::new(config, build);
        async move { ready(start.begin()).await }
    }

    /// Waits until start-up has ended; the answer is the same every time.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create); [`Error::FromInside`] when called from `init_db` or `migrate_db`.
    fn ensure_ready(&self) -> impl Future<Output = Result<()>> + Send {
        lifecycle::ensure_ready(self.__core().gate())
    }

    /// Where the manager stands now.
    fn status(&self) -> Status {
        self.__core().gate().status()
    }

    /// Follows the status.
    fn watch_status(&self) -> watch::Receiver<Status> {
        self.__core().gate().watch()
    }

    /// The version that is stored in the database.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::InvalidVersion`] when the table has been tampered with.
    fn get_version(&self) -> impl Future<Output = Result<Version>> + Send {
        lifecycle::get_version(self.__core())
    }

    /// Stores another version, for a migration by hand.
    ///
    /// # Errors
    ///
    /// As any call; [`Error::Config`] for a version that the table cannot hold.
    fn update_version(&self, version: &Version) -> impl Future<Output = Result<()>> + Send {
        lifecycle::update_version(self.__core(), version)
    }

    /// Refuses new calls, lets running and queued ones finish, and closes the database; no side files are left
    /// unless another process has it open. During start-up it waits for that first.
    ///
    /// A second or concurrent close waits for the same end. Closing a failed manager does nothing.
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

    /// [`close`](Self::close), but calls that are still running after `limit` are interrupted and rolled back; they
    /// and the queued ones get [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    fn close_within(&self, limit: Duration) -> impl Future<Output = Result<()>> + Send {
        lifecycle::close_within(self.__core().gate(), limit)
    }

    /// The database file; `None` while the manager starts, or when its configuration was refused.
    fn path(&self) -> Option<&Path> {
        self.__core().path()
    }
}

async fn ready<M: DbManager>(manager: Arc<M>) -> Result<Arc<M>> {
    manager.ensure_ready().await?;
    Ok(manager)
}

/// Makes a manager around its core; the derive implements it for structs whose other fields are `Default`.
pub trait FromCore: Sized {
    #[doc(hidden)]
    fn from_core(core: ManagerCore) -> Self;
}

/// A field beside the core, when the manager is made from a configuration alone.
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

/// What the library keeps of a manager; the one field that a manager must have.
pub struct ManagerCore {
    gate: Arc<Gate>,
    version: Result<Version>,
    database: Box<str>,
}

impl ManagerCore {
    pub(crate) fn new(config: &Config, version: Version) -> Self {
        let version = config.version.clone().unwrap_or(version);
        let version = version::to_row(&version).map(|_| version);
        Self {
            gate: Gate::new(lifecycle::finish),
            version,
            database: config.name().into(),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn version(&self) -> Result<&Version> {
        self.version.as_ref().map_err(Error::clone)
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    fn path(&self) -> Option<&Path> {
        let engine = self.gate.answer()?.as_ref().ok()?;
        Some(PathBuf::as_path(&engine.opener.path))
    }
}

impl fmt::Debug for ManagerCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerCore")
            .field("database", &self.database)
            .field("status", &self.gate.status())
            .finish()
    }
}
