//! What a manager defines about its database.

use crate::error::Result;
use crate::transaction::WriteTransaction;
use crate::version::Version;

/// The schema of a database: how a new one is made, and how an older one is migrated.
///
/// Both methods run during start-up. Each runs in one transaction together with the version, so it takes effect
/// completely or not at all. Both take the writer's handle and need no attribute. Annotated methods that they call need
/// [`#[during_init]`](crate::during_init) and join their transaction.
///
/// ```
/// use dbm_core::prelude::*;
///
/// #[derive(DbManager)]
/// #[db_manager(version = "1.2.0")]
/// struct Store {
///     core: ManagerCore,
/// }
///
/// impl Schema for Store {
///     /// The newest schema, in one go.
///     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
///         db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT) STRICT").await
///     }
///
///     /// One step after the other, from wherever the file stands.
///     async fn migrate_db(&self, db: &mut WriteTransaction, current: &Version, _: &Version) -> Result<bool> {
///         if *current < Version::new(1, 1, 0) {
///             db.execute_batch("ALTER TABLE person RENAME TO user").await?;
///         }
///         if *current < Version::new(1, 2, 0) {
///             db.execute_batch("ALTER TABLE user ADD COLUMN email TEXT").await?;
///         }
///         Ok(true)
///     }
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<()> { Store::create(Config::in_memory()).await?.close().await }
/// ```
///
/// # Files
///
/// The schema can be files instead: `schema/1.0.0.sql` and so on in the package. Each file leads from the version
/// before it to its own. With `#[db_manager(version = "1.2.0", schema)]` the [derive](macro@crate::DbManager) finds the
/// files and writes this impl. A new database runs all of them, an older one those above its version.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema",
    label = "write `impl Schema for {Self}` with `init_db`"
)]
pub trait Schema {
    /// Creates the tables of a new database. The table `Version` already exists; leave it alone.
    ///
    /// This runs if the file is missing or empty. If several processes start on such a file, one of them runs it.
    ///
    /// The method should only write to `db`: [`SchemaDrift`](crate::SchemaDrift) says when it runs a second time.
    ///
    /// # Errors
    ///
    /// An error or a panic fails the start. The file stays empty, so the next start tries again.
    fn init_db(&self, db: &mut WriteTransaction) -> impl Future<Output = Result<()>> + Send;

    /// Migrates a database from the version `current` to `target`. Returns whether it could. The library writes the
    /// version itself afterwards.
    ///
    /// The library has made a backup before. Foreign keys are off, so that tables can be rebuilt; each of them is
    /// checked at the end. The migration fails with [`Error::ForeignKeys`](crate::Error::ForeignKeys) if a key has lost
    /// its parent table or a row has lost its parent. Violations from before the migration do not count.
    ///
    /// # Errors
    ///
    /// An error, a panic or `Ok(false)` ([`Error::MigrationRefused`](crate::Error::MigrationRefused)) fails the start
    /// and leaves the file as it was. The default implementation returns `Ok(false)`: a first release has nothing to
    /// migrate.
    fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        current: &Version,
        target: &Version,
    ) -> impl Future<Output = Result<bool>> + Send {
        let _ = (db, current, target);
        std::future::ready(Ok(false))
    }

    /// Whether the derive has found the schema as files. If so, `init_db` runs them up to the required version, with
    /// foreign keys off.
    #[doc(hidden)]
    const __FROM_FILES: bool = false;
}
