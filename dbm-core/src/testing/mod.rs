//! For the tests of programs. Enable the feature `testing` in `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! dbm-core = { version = "0.1", features = ["testing"] }
//! ```
//!
//! | a test wants | |
//! |---|---|
//! | a manager of its own | `Store::create(Config::in_memory()).await?`, without this module |
//! | to open the same file again | [`TestDirectory`] |
//! | to check that every migration leads to the schema of a new database | [`Migration`] |
//! | to see or compare a schema | [`schema`] |
//! | to see what happens when a call fails | [`fail_next`] |
//! | to run jobs without waiting for them | `run_due_jobs` and `set_clock`, with the feature `jobs` |

mod directory;
mod fault;
#[cfg(feature = "jobs")]
mod jobs;
mod migration;

use std::sync::Arc;

pub use directory::TestDirectory;
pub use fault::fail_next;
#[cfg(feature = "jobs")]
pub use jobs::{run_due_jobs, set_clock};
pub use migration::{Migrated, Migration, MigrationError};

use crate::call::pipeline::Call;
use crate::call::site::Site;
pub use crate::engine::schema::{SchemaDiff, SchemaDump};
use crate::error::Result;
pub use crate::fault::Fault;
use crate::manager::DbManager;
use crate::transaction::ReadTransaction;

/// The tables, indexes, triggers and views of a running manager, to print, compare or keep as a snapshot.
///
/// ```
/// use dbm_core::testing;
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("
/// #             CREATE TABLE team (id INTEGER PRIMARY KEY) STRICT;
/// #             CREATE TABLE user (
/// #                 name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
/// #                 team INTEGER REFERENCES team(id) ON DELETE CASCADE
/// #             ) STRICT;
/// #             CREATE INDEX user_by_team ON user(team) WHERE team > 0").await
/// #     }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(false) }
/// # }
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// let schema = testing::schema(&store).await?;
/// assert_eq!(schema.to_string(), "\
/// TABLE team
///   id INTEGER
///   PRIMARY KEY (id)
///   STRICT
/// TABLE user
///   name TEXT NOT NULL
///   team INTEGER
///   CHECK (length (name) > 0)
///   FOREIGN KEY (team) REFERENCES team (id) ON DELETE CASCADE
///   UNIQUE (name)
///   STRICT
/// INDEX user_by_team
///   ON user (team) where team > 0
/// ");
/// assert!(schema.compare(&schema).is_ok());
/// # store.close().await }
/// ```
///
/// # Errors
///
/// The same as any call.
pub async fn schema<M: DbManager>(manager: &Arc<M>) -> Result<SchemaDump> {
    static SITE: Site = Site::new(module_path!(), "schema");
    Call::new(&SITE, manager.__core())
        .on::<ReadTransaction>()
        .returning::<Result<SchemaDump>>()
        .run(async |mut db: ReadTransaction| db.call(crate::engine::read_schema).await)
        .await
        .into_result()
}
