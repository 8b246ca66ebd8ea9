//! Database managers for SQLite: you write the inside of a database method, the attributes build the outside.
//!
//! ```
//! use dbm_core::prelude::*;
//!
//! #[derive(DbManager)]
//! #[db_manager(version = "1.0.0")]
//! struct Store {
//!     core: ManagerCore,
//! }
//!
//! impl Schema for Store {
//!     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
//!         db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT").await
//!     }
//! }
//!
//! impl Store {
//!     #[database_safe]
//!     async fn add_user(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
//!         db.query_one("INSERT INTO user (name) VALUES (?1) RETURNING id", (name,)).await
//!     }
//!
//!     #[database_safe]
//!     #[fail_value(None)]
//!     async fn name(&self, db: &mut ReadTransaction, id: i64) -> Result<Option<String>> {
//!         db.query_optional("SELECT name FROM user WHERE id = ?1", (id,)).await
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     let store = Store::create(Config::in_memory()).await?; // Config::new("data") for data/database.db
//!     let id = store.add_user("Ada").await?; // the caller passes no `db`
//!     assert_eq!(store.name(id).await.as_deref(), Some("Ada")); // fail_value: a value, never an Err
//!     store.close().await
//! }
//! ```
//!
//! # Inside and outside
//!
//! *Inside* a method you have `&self`, a handle `db`, and your arguments; you return a `Result<T, E>`. *Outside*, a
//! caller passes only the arguments and gets what the failure policy returns. Between the two lies the call pipeline.
//! Every call passes these stages in this order, whatever the order of the attributes:
//!
//! required arguments → status gate → lease (lock and connection) → transaction → body → commit or rollback → failure
//! policy → trace
//!
//! # The handle
//!
//! | `db:` | the body has |
//! |---|---|
//! | [`&mut ReadTransaction`](ReadTransaction) | one consistent snapshot, beside the writer and other reads |
//! | [`&mut WriteTransaction`](WriteTransaction) | the one write transaction of this manager, first come first served |
//! | [`&mut Connection`](Connection) | the writer's connection, without a transaction |
//!
//! Statements are methods of the handle: [`query`](ReadTransaction::query), [`query_one`](ReadTransaction::query_one),
//! [`query_optional`](ReadTransaction::query_optional), [`query_map`](ReadTransaction::query_map),
//! [`stream`](ReadTransaction::stream), [`execute`](WriteTransaction::execute),
//! [`execute_many`](WriteTransaction::execute_many), [`execute_batch`](WriteTransaction::execute_batch), and
//! [`call`](ReadTransaction::call) for everything else that rusqlite can do. They accept [`Params`] and return any `T`
//! with serde's `Deserialize`. Enums, newtypes, times and UUIDs are parameters, too: by
//! [`#[derive(ToValue)]`](trait@ToValue) or as [`Serde(value)`](Serde); `docs/types.md` has all of it.
//!
//! A method that calls another method of the same manager shares its transaction: the nested call runs in a savepoint.
//! Nested calls may run concurrently (`join!`); they take turns. A task that a body spawns is not part of the call.
//!
//! # Failure
//!
//! A failed call is rolled back first. Then:
//!
//! | attributes | the caller sees |
//! |---|---|
//! | [`database_safe`] | the declared `Result<T, E>`; a panic goes on unwinding |
//! | and [`fail_value`] | `T`; on failure the given value, and the cause is logged |
//! | and [`fail_with_exception`] | `Result<T, E>`; a panic is an `Err` too |
//! | and both | `T`, a tuple; on failure the given value with the cause in its last place |
//!
//! Dropping a call's future reports no failure. If the body has not returned, the call is rolled back. If it has, the
//! call may still commit. Either way the whole call takes effect or nothing does.
//!
//! # Lifecycle
//!
//! [`Status`] goes `Starting → Running → Stopping → Stopped`, or `Starting → Failed`, and never back.
//! [`create`](DbManager::create) starts a manager and waits until it runs; calls made earlier wait as well.
//! [`close`](DbManager::close) lets running calls finish. A manager that failed to start keeps the cause and returns it
//! to every caller.
//!
//! # Features
//!
//! - `macros` (default): the attributes and the derive. What they generate can be written by hand, with
//!   [`call`](mod@call).
//! - `bundled` (default): SQLite is compiled in. Without it, the system's SQLite is linked.
//! - `remote`: the module `remote`, for a crate that connects a database on a server.
//! - `json`: the type `Json`, a parameter and a column of JSON.
//! - `checked`: the SQL of managers marked `checked` is verified at compile time. Adds the macro `sql`.
//! - `jobs`: the attribute `job`, for durable jobs and schedules.
//! - `testing`: the module `testing`, for the tests of programs.
//! - `signal`: `DbManager::close_on_signal`, for Ctrl-C and SIGTERM.
//! - `array`, `blob`, `collation`, `functions`, `load_extension`, `session`, `vtab`, `window`: the parts of rusqlite with
//!   these names, for [`Config::on_open`] and `call`. `session` needs libclang to be built.
//! - `sqlcipher`: encrypted files, with SQLCipher in the place of SQLite. It needs OpenSSL's libcrypto.
//!
//! # Where to read on
//!
//! The README has a tour. `docs/` has guides: questions (also what the compiler says), recipes, types of values, many rows,
//! live reads, migrations, databases that exist, testing, operations, observability, options of SQLite. `ARCHITECTURE.md` explains the internals.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod announced;
mod baton;
/// The call pipeline in one place. What the attributes generate can be written by hand with it.
///
/// required arguments → status gate → lease (lock, connection, transaction) → body → commit or rollback → failure
/// policy → trace
// Declared here, not in the folder: `call` takes a manager, and the stages know nothing of managers.
pub mod call {
    mod arguments;
    pub(crate) mod body;
    pub(crate) mod count;
    pub(crate) mod failure;
    #[cfg(feature = "testing")]
    mod fault;
    pub(crate) mod lease;
    pub(crate) mod pipeline;
    mod profile;
    pub(crate) mod site;
    #[expect(clippy::disallowed_methods, reason = "it writes the events of a call")]
    mod trace;

    pub use failure::{ExceptionSlot, Fallible, Outcome, ValueOf, missing_argument};
    pub use pipeline::{Call, CallOn, TypedCall};
    pub use profile::{Profile, profiles};
    pub use site::Site;
    pub use trace::timed;

    pub use crate::manager::call;
}

#[expect(
    clippy::disallowed_methods,
    reason = "it has a task of its own, and tells of a panic there"
)]
mod after_commit;
mod channel;
mod checked;
mod config;
mod database;
#[expect(
    clippy::disallowed_types,
    reason = "connections, threads and files belong here"
)]
mod engine;
mod error;
#[cfg(feature = "testing")]
mod fault;
mod frame;
#[expect(clippy::disallowed_methods, reason = "it keeps the status")]
mod gate;
#[cfg(feature = "jobs")]
mod job_board;
#[cfg(feature = "jobs")]
mod jobs;
#[cfg(feature = "json")]
mod json;
mod lifecycle;
mod limited;
mod live;
mod manager;
mod manager_core;
mod metrics;
mod on_open;
mod panicked;
mod params;
pub mod prelude;
mod process_thread;
#[cfg(feature = "remote")]
pub mod remote;
mod row;
mod schema;
#[cfg(feature = "remote")]
mod server;
mod sharded;
mod status;
mod steps;
mod stream;
mod sync;
mod tables;
#[expect(clippy::disallowed_methods, reason = "it removes what it has made")]
mod temporary;
#[cfg(test)]
mod test_support;
#[cfg(feature = "testing")]
#[expect(
    clippy::disallowed_methods,
    reason = "fixtures are copied, not databases"
)]
pub mod testing;
mod timer;
mod transaction;
mod turnstile;
mod unique_id;
mod value;
mod version;
mod waking;

#[doc(hidden)]
pub mod __private;

pub use call::{ExceptionSlot, Fallible, Profile, ValueOf, profiles};
pub use config::{Config, Durability, Execution, SchemaDrift};
pub use engine::{ForeignKeyFault, Restored, SchemaComparison, Sharing, Verification};
pub use error::{Cause, Error, Result, Shared, SqliteError};
#[cfg(feature = "jobs")]
pub use jobs::{DeadJob, Job, JobId, JobOutcome, Jobs};
#[cfg(feature = "json")]
pub use json::Json;
pub use lifecycle::{BackUp, restore};
pub use live::Live;
pub use manager::{DbManager, FromCore};
pub use manager_core::ManagerCore;
pub use metrics::{
    CallTimes, Calls, DataPoint, Histogram, JobRuns, MethodMetrics, Metrics, PointValue,
};
pub use params::{BoundParams, Params};
pub use row::{ColumnIndex, FromRow, Row, column};
pub use schema::Schema;
pub use status::Status;
pub use stream::RowStream;
pub use transaction::{Connection, Handle, ReadTransaction, Statement, WriteTransaction};
pub use value::{Serde, ToValue, Value};
pub use version::Version;

#[cfg(feature = "jobs")]
pub use dbm_macros::job;
#[cfg(feature = "checked")]
pub use dbm_macros::sql;
#[cfg(feature = "macros")]
pub use dbm_macros::{
    DbManager, ToValue, database_safe, db_manager, during_init, fail_value, fail_with_exception,
    required_argument, timed,
};
/// The SQLite bindings that this crate is built on. Use this re-export: a second version of rusqlite in one program
/// does not link.
pub use rusqlite;
/// The crate that [`Version`] comes from.
pub use semver;

/// Compiles the code of the README and of the guides.
#[cfg(all(doctest, feature = "macros"))]
mod guides {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../README.md")]
    struct OfTheCrate;
    #[doc = include_str!("../../docs/existing-databases.md")]
    struct ExistingDatabases;
    #[doc = include_str!("../../docs/from-python.md")]
    struct FromPython;
    #[cfg(feature = "jobs")]
    #[doc = include_str!("../../docs/jobs.md")]
    struct Jobs;
    #[doc = include_str!("../../docs/live-reads.md")]
    struct LiveReads;
    #[doc = include_str!("../../docs/migrations.md")]
    struct Migrations;
    #[doc = include_str!("../../docs/observability.md")]
    struct Observability;
    #[doc = include_str!("../../docs/operations.md")]
    struct Operations;
    #[doc = include_str!("../../docs/recipes.md")]
    struct Recipes;
    #[cfg(all(feature = "collation", feature = "functions"))]
    #[doc = include_str!("../../docs/sqlite-options.md")]
    struct SqliteOptions;
    #[doc = include_str!("../../docs/streaming.md")]
    struct Streaming;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;
}
