//! Checks that a migration leads to the schema of a new database.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::{SchemaDiff, TestDirectory, schema};
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::config::{Config, SchemaDrift};
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::manager::{DbManager, FromCore, Shareable};
use crate::manager_core::ManagerCore;
use crate::on_open::OpenHook;
use crate::schema::Schema;
use crate::transaction::WriteTransaction;
use crate::version::Version;

/// An older database to be migrated.
///
/// ```
/// use dbm_core::prelude::*;
/// use dbm_core::testing::{Migration, MigrationError};
///
/// #[derive(DbManager)]
/// #[db_manager(version = "1.1.0")]
/// struct Store { core: ManagerCore }
///
/// impl Schema for Store {
///     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
///         db.execute_batch("CREATE TABLE user (name TEXT NOT NULL, age INTEGER) STRICT").await
///     }
///
///     async fn migrate_db(&self, db: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
///         db.execute_batch("ALTER TABLE user ADD COLUMN age INTEGER").await?;
///         Ok(true)
///     }
/// }
/// # impl Store {
/// #     #[database_safe]
/// #     async fn users(&self, db: &mut ReadTransaction) -> Result<Vec<(String, Option<i64>)>> {
/// #         db.query("SELECT name, age FROM user", ()).await
/// #     }
/// # }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), MigrationError> {
/// // What release 1.0.0 made, and what somebody has written since.
/// let store = Migration::from_sql("1.0.0", "CREATE TABLE user (name TEXT NOT NULL) STRICT")
///     .seed("INSERT INTO user VALUES ('Ada')")
///     .check::<Store>()
///     .await?;
/// assert_eq!(store.users().await?, [("Ada".to_owned(), None)]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing before `check`"]
pub struct Migration {
    start: Start,
    seed: String,
    on_open: Option<OpenHook>,
}

#[derive(Debug, Clone)]
enum Start {
    Sql { version: String, sql: String },
    File(PathBuf),
    Files { version: String },
}

impl Migration {
    /// Starts from the tables that an older release created. The library adds the table `Version`; the SQL must not
    /// contain it.
    pub fn from_sql(version: &str, sql: impl Into<String>) -> Self {
        Self::new(Start::Sql {
            version: version.to_owned(),
            sql: sql.into(),
        })
    }

    /// Starts from a copy of a database that an older release created.
    pub fn from_file(fixture: impl Into<PathBuf>) -> Self {
        Self::new(Start::File(fixture.into()))
    }

    /// Starts from what the manager's own files create for an older version. For a manager whose schema is
    /// [files](crate::Schema#files).
    ///
    /// ```no_run
    /// # use dbm_core::prelude::*;
    /// # use dbm_core::testing::{Migration, MigrationError};
    /// # async fn f<Store: DbManager + Schema + dbm_core::FromCore>() -> Result<(), MigrationError> {
    /// for release in ["1.0.0", "1.1.0"] {
    ///     Migration::from_files(release)
    ///         .seed("INSERT INTO user (name) VALUES ('Ada')")
    ///         .check::<Store>()
    ///         .await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn from_files(version: &str) -> Self {
        Self::new(Start::Files {
            version: version.to_owned(),
        })
    }

    fn new(start: Start) -> Self {
        Self {
            start,
            seed: String::new(),
            on_open: None,
        }
    }

    /// Adds rows before the migration.
    pub fn seed(mut self, sql: &str) -> Self {
        self.seed.push_str(sql);
        // On a line of its own: a comment at the end of `sql` would swallow it.
        self.seed.push_str("\n;");
        self
    }

    /// Sets up every connection of the check, as [`Config::on_open`] does: for a schema that needs functions or
    /// collations of the program.
    #[expect(
        clippy::disallowed_types,
        reason = "the program sets up its connections"
    )]
    pub fn on_open(
        mut self,
        set_up: impl Fn(&rusqlite::Connection) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_open = Some(OpenHook(Arc::new(set_up)));
        self
    }

    /// Migrates the database with the manager itself, and compares the result with a new database.
    ///
    /// Returns the running manager, so that a test can check its rows.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Failed`] if the older database cannot be created or migrated. [`MigrationError::Differs`] if
    /// the result differs from a new database, also in the order of columns.
    pub async fn check<M: DbManager + Schema + FromCore>(
        self,
    ) -> Result<Migrated<M>, MigrationError> {
        self.check_with(M::from_core).await
    }

    /// The same as [`check`](Self::check), for a manager with fields that are not `Default`. It is built twice.
    ///
    /// # Errors
    ///
    /// The same as [`check`](Self::check).
    pub async fn check_with<M: DbManager + Schema>(
        self,
        build: impl Fn(ManagerCore) -> M,
    ) -> Result<Migrated<M>, MigrationError> {
        let on_open = self.on_open.clone();
        let set_up = |mut config: Config| {
            config.on_open.clone_from(&on_open);
            config
        };
        let directory = self.prepare(&set_up, &build).await?;
        let config = set_up(directory.config()).schema_drift(SchemaDrift::Ignore);
        let manager = M::create_with(config, &build).await?;
        let new = M::create_with(set_up(Config::in_memory()), &build).await?;
        let expected = schema(&new).await?;
        new.close().await?;
        if let Err(differences) = schema(&manager).await?.compare(&expected) {
            manager.close().await?;
            return Err(MigrationError::Differs(differences));
        }
        Ok(Migrated {
            manager,
            _directory: directory,
        })
    }

    async fn prepare<M: DbManager + Schema>(
        self,
        set_up: impl Fn(Config) -> Config,
        build: impl Fn(ManagerCore) -> M,
    ) -> Result<TestDirectory> {
        let (directory, version, sql) = match self.start {
            Start::Sql { version, sql } => (TestDirectory::new()?, parse(&version)?, sql),
            Start::Files { version } => {
                if !M::__FROM_FILES {
                    return Err(Error::other(
                        "the schema of this manager is no files: use `Migration::from_sql`",
                    ));
                }
                let (directory, version) = (TestDirectory::new()?, parse(&version)?);
                let config = set_up(directory.config()).version(version.clone());
                M::create_with(config, build).await?.close().await?;
                (directory, version, String::new())
            }
            Start::File(fixture) => {
                let directory = TestDirectory::with_database(fixture)?;
                let version = directory.version(set_up(directory.config()))?;
                (directory, version, String::new())
            }
        };
        let config = set_up(directory.config()).version(version);
        let old = Old::create_with(config, |core| Old { core, sql }).await?;
        old.run(&self.seed).await?;
        old.close().await?;
        Ok(directory)
    }
}

fn parse(version: &str) -> Result<Version> {
    Version::parse(version).map_err(Error::other)
}

/// An older release.
struct Old {
    core: ManagerCore,
    sql: String,
}

impl Old {
    async fn run(&self, sql: &str) -> Result<()> {
        static SITE: Site = Site::new(module_path!(), "seed");
        Call::new(&SITE, &self.core)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut db: WriteTransaction| db.execute_batch(sql).await)
            .await
            .into_result()
    }
}

impl Shareable for Old {}

impl DbManager for Old {
    const VERSION: Version = Version::new(0, 0, 0);

    fn __core(&self) -> &ManagerCore {
        &self.core
    }

    fn __begin(start: lifecycle::Start<Self>, here: bool) -> Arc<Self> {
        start.begin(here)
    }
}

impl Schema for Old {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(&self.sql).await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

/// A manager whose database was migrated. It derefs to its `Arc`. Dropping it removes the database.
pub struct Migrated<M> {
    manager: Arc<M>,
    _directory: TestDirectory,
}

impl<M> Deref for Migrated<M> {
    type Target = Arc<M>;

    fn deref(&self) -> &Arc<M> {
        &self.manager
    }
}

impl<M> fmt::Debug for Migrated<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrated").finish_non_exhaustive()
    }
}

/// Why a migration did not pass.
///
/// [`Debug`](fmt::Debug) shows the same text as [`Display`](fmt::Display): `unwrap()` lists the differences line by
/// line.
#[derive(Clone, thiserror::Error)]
pub enum MigrationError {
    /// The migration failed, or the older database could not be created.
    #[error("{0}")]
    Failed(
        #[from]
        #[source]
        Error,
    ),
    /// The migration succeeded, but left a schema that differs from the one of `init_db`.
    #[error("the migrated database (-) is not like a new one (+):\n{0}")]
    Differs(#[source] SchemaDiff),
}

impl fmt::Debug for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
