//! Calls that fail on request of a test.

use std::sync::Arc;

use crate::fault::Fault;
use crate::manager::DbManager;

/// Makes the next call of a method on this manager fail. If several faults are ordered, each applies to one call, in
/// order.
///
/// Nested calls count, and so do `get_version` and `update_version`. A name that no method has is ignored.
///
/// ```
/// use dbm_core::prelude::*;
/// use dbm_core::testing::{self, Fault};
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE user (name TEXT) STRICT").await
/// #     }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(false) }
/// # }
///
/// impl Store {
///     #[database_safe]
///     async fn add_user(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
///         db.execute("INSERT INTO user VALUES (?1)", (name,)).await?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// testing::fail_next(&store, "add_user", Error::other("the disk is full"));
/// testing::fail_next(&store, "add_user", Fault::Timeout);
///
/// assert_eq!(store.add_user("Ada").await.unwrap_err().to_string(), "the disk is full");
/// assert!(matches!(store.add_user("Ada").await, Err(Error::Timeout { .. })));
/// assert!(store.add_user("Ada").await.is_ok());
/// # store.close().await }
/// ```
pub fn fail_next<M: DbManager>(manager: &Arc<M>, method: &'static str, fault: impl Into<Fault>) {
    manager.__core().faults().add(method, fault.into());
}
