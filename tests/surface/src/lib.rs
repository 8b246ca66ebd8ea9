//! Names every public item of dbm-core, so that one that goes, moves or changes its shape is noticed here.

#[cfg(feature = "json")]
pub use dbm_core::Json;
pub use dbm_core::call::{
    Call, CallOn, Outcome, Site, TypedCall, call, missing_argument, timed as timed_by_hand,
};
pub use dbm_core::prelude;
#[cfg(feature = "remote")]
pub use dbm_core::remote::{
    Access, Answer, Backend, Contents, Limits, Promises, Remote, RemoteRows, RemoteTransaction,
    Waiting, time_text,
};
#[cfg(feature = "checked")]
pub use dbm_core::sql;
#[cfg(feature = "testing")]
pub use dbm_core::testing::{
    Fault, Migrated, Migration, MigrationError, SchemaDiff, SchemaDump, TestDirectory, fail_next,
    schema,
};
pub use dbm_core::{
    BackUp, BoundParams, CallTimes, Calls, Cause, ColumnIndex, Config, Connection, DataPoint,
    DbManager, Durability, Error, ExceptionSlot, Execution, Fallible, ForeignKeyFault, FromCore,
    FromRow, Handle, Histogram, JobRuns, ManagerCore, MethodMetrics, Metrics, Params, PointValue,
    Profile, ReadTransaction, Restored, Result, Row, RowStream, Schema, SchemaComparison,
    SchemaDrift, Serde, Shared, Sharing, SqliteError, Statement, Status, ToValue, Value, ValueOf,
    Verification, Version, WriteTransaction, column, named_params, params, profiles, restore,
};
#[cfg(feature = "macros")]
pub use dbm_core::{
    database_safe, during_init, fail_value, fail_with_exception, required_argument, timed,
};
pub use dbm_core::{rusqlite, semver};

/// What a feature of rusqlite's name brings.
pub mod passed_through {
    #[cfg(feature = "blob")]
    pub use dbm_core::rusqlite::blob;
    #[cfg(feature = "functions")]
    pub use dbm_core::rusqlite::functions;
    #[cfg(feature = "window")]
    pub use dbm_core::rusqlite::functions::WindowAggregate;
    #[cfg(feature = "session")]
    pub use dbm_core::rusqlite::session;
    #[cfg(feature = "vtab")]
    pub use dbm_core::rusqlite::vtab;
    #[cfg(feature = "array")]
    pub use dbm_core::rusqlite::vtab::array;

    /// For a program's own `unsafe` code.
    #[cfg(feature = "load_extension")]
    pub use dbm_core::rusqlite::LoadExtensionGuard;

    /// A collation for each connection.
    #[cfg(feature = "collation")]
    pub fn collation() -> dbm_core::Config {
        dbm_core::Config::new("data")
            .on_open(|connection| Ok(connection.create_collation("bytes", Ord::cmp)?))
    }
}

/// What may cross tasks and threads.
pub fn promises() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync + 'static>() {}
    fn cloned<T: Clone>() {}

    shared::<Config>();
    shared::<Error>();
    shared::<ManagerCore>();
    shared::<Row>();
    shared::<Status>();
    shared::<Value>();
    sent::<ReadTransaction>();
    sent::<WriteTransaction>();
    sent::<Connection>();
    sent::<Statement<'_, u64>>();
    sent::<RowStream<'_, u64>>();
    sent::<BackUp<'_>>();
    cloned::<Config>();
    cloned::<Error>();
    cloned::<Row>();
}

/// The settings, each by its name.
pub fn every_setting() -> Config {
    use std::time::Duration;
    Config::new("data")
        .db_name("surface.db")
        .durability(Durability::Full)
        .execution(Execution::Auto)
        .readers(2)
        .acquire_timeout(Duration::from_secs(30))
        .busy_timeout(Duration::from_secs(5))
        .max_queue(1_000)
        .max_read_age(Duration::from_secs(60))
        .keep_backups(3)
        .private_files(true)
        .schema_drift(SchemaDrift::Ignore)
        .version(Version::new(1, 0, 0))
        .on_open(|connection| Ok(connection.execute_batch("PRAGMA cache_size = -4000")?))
        .on_create(|connection| Ok(connection.execute_batch("PRAGMA page_size = 8192")?))
        .adopt(Version::new(1, 0, 0))
        .read_only()
        .histograms()
}
