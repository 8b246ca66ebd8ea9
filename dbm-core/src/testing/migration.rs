//! Whether a migration ends where a new database begins.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::{SchemaDiff, TestDirectory, schema};
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::config::{Config, SchemaDrift};
use crate::error::{Error, Result};
use crate::manager::{DbManager, FromCore};
use crate::manager_core::ManagerCore;
use crate::schema::Schema;
use crate::transaction::WriteTransaction;
use crate::version::Version;

/// An older database that is to be migrated.
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
}

#[derive(Debug, Clone)]
enum Start {
    Sql { version: String, sql: String },
    File(PathBuf),
}

impl Migration {
    /// From the tables that an older release made. The table `Version` is made by itself and must not be in the SQL.
    pub fn from_sql(version: &str, sql: impl Into<String>) -> Self {
        Self::new(Start::Sql {
            version: version.to_owned(),
            sql: sql.into(),
        })
    }

    /// From a database that an older release made; a copy of it is used.
    pub fn from_file(fixture: impl Into<PathBuf>) -> Self {
        Self::new(Start::File(fixture.into()))
    }

    fn new(start: Start) -> Self {
        Self {
            start,
            seed: String::new(),
        }
    }

    /// Rows to be there before the migration.
    pub fn seed(mut self, sql: &str) -> Self {
        self.seed.push_str(sql);
        // On a line of its own, lest a comment swallow it.
        self.seed.push_str("\n;");
        self
    }

    /// Migrates with the manager itself, and compares what comes out with a new database.
    ///
    /// Returns the manager, running, so that its rows can be looked at.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Failed`] when the older database cannot be made or not be migrated, and
    /// [`MigrationError::Differs`] when it is another one than a new one then, also in the order of columns.
    pub async fn check<M: DbManager + FromCore>(self) -> Result<Migrated<M>, MigrationError> {
        self.check_with(M::from_core).await
    }

    /// [`check`](Self::check) for a manager with fields that are not `Default`. It is made twice.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn check_with<M: DbManager>(
        self,
        build: impl Fn(ManagerCore) -> M,
    ) -> Result<Migrated<M>, MigrationError> {
        let directory = self.prepare().await?;
        let config = directory.config().schema_drift(SchemaDrift::Ignore);
        let manager = M::create_with(config, &build).await?;
        let new = M::create_with(Config::in_memory(), &build).await?;
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

    async fn prepare(self) -> Result<TestDirectory> {
        let (directory, version, sql) = match self.start {
            Start::Sql { version, sql } => {
                let version = Version::parse(&version).map_err(Error::other)?;
                (TestDirectory::new()?, version, sql)
            }
            Start::File(fixture) => {
                let directory = TestDirectory::with_database(fixture)?;
                let version = directory.version()?;
                (directory, version, String::new())
            }
        };
        let config = directory.config().version(version);
        let old = Old::create_with(config, |core| Old { core, sql }).await?;
        old.run(&self.seed).await?;
        old.close().await?;
        Ok(directory)
    }
}

/// A release of the past.
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

impl DbManager for Old {
    const VERSION: Version = Version::new(0, 0, 0);

    fn __core(&self) -> &ManagerCore {
        &self.core
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

/// A manager whose database was migrated; it derefs to its `Arc`. The database goes with it.
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

/// What came of a migration.
///
/// [`Debug`](fmt::Debug) is the same text as [`Display`](fmt::Display): `unwrap()` says what is different, line by line.
#[derive(Clone, thiserror::Error)]
pub enum MigrationError {
    /// It failed, or the older database could not be made.
    #[error("{0}")]
    Failed(
        #[from]
        #[source]
        Error,
    ),
    /// It went through, and left another schema than the one that `init_db` makes.
    #[error("the migrated database (-) is not like a new one (+):\n{0}")]
    Differs(#[source] SchemaDiff),
}

impl fmt::Debug for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
