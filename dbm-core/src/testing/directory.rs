use std::path::{Path, PathBuf};

use crate::config::{Config, Durability};
use crate::engine::{Contents, Opener, look};
use crate::error::{Error, Result};
use crate::temporary::TemporaryDirectory;
use crate::version::Version;

/// A directory for the database of one test: for tests that open the same file again. Dropping it removes the
/// directory.
///
/// ```
/// # use dbm_core::prelude::*;
/// # use dbm_core::testing::TestDirectory;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(false) }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let directory = TestDirectory::new()?;
/// for _restart in 0..2 {
///     let store = Store::create(directory.config()).await?;
///     store.close().await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TestDirectory(TemporaryDirectory);

impl TestDirectory {
    /// Creates an empty directory in the system's directory for temporary files.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be created.
    pub fn new() -> Result<Self> {
        TemporaryDirectory::new().map(Self)
    }

    /// The same, with a copy of `fixture` as its database.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be copied.
    pub fn with_database(fixture: impl AsRef<Path>) -> Result<Self> {
        let fixture = fixture.as_ref();
        let directory = Self::new()?;
        std::fs::copy(fixture, directory.database()).map_err(|error| Error::io(fixture, error))?;
        Ok(directory)
    }

    /// A configuration for the database in this directory: the file is `database.db`, the durability
    /// [`Durability::Off`].
    pub fn config(&self) -> Config {
        Config::new(self.0.path()).durability(Durability::Off)
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The version of the database in this directory, which `config` opens.
    pub(super) fn version(&self, config: Config) -> Result<Version> {
        match look(&Opener::new(self.database(), config))?.0 {
            Contents::Version(version) => Ok(version),
            Contents::Nothing => Err(Error::other("the fixture is an empty database")),
            Contents::Foreign | Contents::NameTaken { .. } => Err(Error::ForeignDatabase {
                path: self.database().into(),
            }),
        }
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("database.db")
    }
}
