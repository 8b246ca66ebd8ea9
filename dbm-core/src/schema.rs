//! What a manager says of its database.

use crate::error::Result;
use crate::transaction::WriteTransaction;
use crate::version::Version;

/// What a database looks like: how it is made, and how an older one is brought up to date.
///
/// Both methods run during start-up, each in one transaction together with the version: all or nothing. They take the
/// writer's handle and need no attribute. Annotated methods that they call need
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema",
    label = "write `impl Schema for {Self}` with `init_db`"
)]
pub trait Schema: Send + Sync + 'static {
    /// Makes the tables of a new database. The table `Version` is there already; leave it alone.
    ///
    /// It is called for a file that is missing or holds nothing. When several processes start on such a file, one of
    /// them calls it.
    ///
    /// It should do nothing but write to `db`: see [`SchemaDrift`](crate::SchemaDrift) for when it runs once more.
    ///
    /// # Errors
    ///
    /// Any error, and a panic, fails the start. The file is left with nothing in it, so that the next start tries again.
    fn init_db(&self, db: &mut WriteTransaction) -> impl Future<Output = Result<()>> + Send;

    /// Brings a database from the version `current` to `target`, and answers whether it could. The version itself is
    /// written afterwards.
    ///
    /// A backup has been made before. Foreign keys are off, so that tables can be rebuilt; they are checked at the
    /// end, and a migration that leaves more orphans than it found fails with
    /// [`Error::ForeignKeys`](crate::Error::ForeignKeys).
    ///
    /// # Errors
    ///
    /// An error, a panic or `Ok(false)` ([`Error::MigrationRefused`](crate::Error::MigrationRefused)) fails the start
    /// and leaves the file as it was. `Ok(false)` is also what the method says unless it is given: a first release
    /// has nothing to migrate.
    fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        current: &Version,
        target: &Version,
    ) -> impl Future<Output = Result<bool>> + Send {
        let _ = (db, current, target);
        std::future::ready(Ok(false))
    }
}
