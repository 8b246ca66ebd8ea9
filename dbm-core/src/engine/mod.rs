//! The only place that touches SQLite connections: how they are opened, who may use them, where statements run, and who
//! commits. The exports below are what the rest of the crate sees of it.
//!
//! # Locks
//!
//! A lock may be taken while one above it is held, never while one below it is.
//!
//! 1. `Engine::closed`, and the checkpointer's `own`: held while connections are closed, or a checkpoint runs.
//! 2. `Conn::slot`: held for one statement or one COMMIT, never across an await.
//! 3. `Conn::running`; the writer's `State`; the readers' `waiters`, then a waiter's `news`; a reader's `serving`.
//! 4. The stall watchdog's `closed`.
//! 5. Leaves, held for a few instructions: a session's `failure`, `late_answer` and `promises`, the wakers of a `CommitOutcome`, a
//!    `Bell`, a `Baton`, `Engine::temporary`, a `ThreadState`.
//!
//! No code of others runs under any of them: no waker is cloned, woken or dropped there, no event is written, and no value of
//! the program is dropped. The one exception is `Conn::slot`: a statement runs under it, and with it `Deserialize`, SQL
//! functions and closures of the program. `Config::on_open` also runs under `own`, and under the lock of the read mark. When
//! such code comes back to its own manager it gets an error at once (`inside`).

#[expect(clippy::disallowed_methods, reason = "backups are files")]
mod backup;
#[expect(
    clippy::disallowed_methods,
    reason = "it warns of a log that cannot shrink"
)]
mod checkpoint;
mod commit_outcome;
mod connection;
mod copies;
mod counts;
#[expect(clippy::disallowed_methods, reason = "copies are files")]
mod database_copy;
mod db;
mod end;
#[expect(clippy::module_inception, reason = "the engine is looked for here")]
mod engine;
#[expect(clippy::disallowed_methods, reason = "it looks at the journal")]
mod foreign_journal;
mod foreign_keys;
#[expect(
    clippy::disallowed_methods,
    reason = "it looks at the log, and waits for others who do, on a worker thread"
)]
mod foreign_log;
mod guard;
mod idle;
mod inside;
mod inspect;
mod job_tables;
mod on_open;
#[expect(clippy::disallowed_methods, reason = "backups are files")]
mod online_backup;
#[expect(
    clippy::disallowed_methods,
    reason = "it looks at the file and waits for it, on a worker thread"
)]
mod open;
mod read_mark;
mod readers;
#[expect(clippy::disallowed_methods, reason = "databases are files")]
mod restore;
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "the test kit shows it")
)]
pub(crate) mod schema;
mod session;
mod settings;
mod share_policy;
mod statement;
mod temp_objects;
mod touched;
mod verify;
#[expect(
    clippy::disallowed_methods,
    reason = "it waits for reads, on a worker thread"
)]
mod wal;
mod worker_thread;
mod writer;

pub(crate) use backup::back_up;
pub(crate) use checkpoint::TRUNCATE_WAIT;
pub(crate) use connection::Conn;
pub(crate) use copies::Stop;
pub(crate) use database_copy::sync_directory;
pub(crate) use db::{Db, MAX_DEPTH};
pub(crate) use end::{Savepoint, undo_write};
pub(crate) use engine::Engine;
pub(crate) use foreign_keys::ForeignKeys;
pub(crate) use foreign_log::refuse_foreign_log;
pub(crate) use inside::{inside_of, unless_inside, waits_for_itself};
pub(crate) use inspect::{Contents, contents, into_reader, is_wal, look, look_now, not_a_database};
#[cfg(all(feature = "jobs", feature = "remote"))]
pub(crate) use job_tables::{FORMAT_OF_JOBS, RELEASE, tables_on_server};
#[cfg(feature = "jobs")]
pub(crate) use job_tables::{HELD, JobTables, look_for_job_tables, make_job_tables};
pub(crate) use online_backup::Order;
pub(crate) use open::{Opener, Role, SharedOpener, log_of};
pub(crate) use readers::{ReaderPermit, end_read, evict_read};
pub use restore::Restored;
pub(crate) use restore::restore;
pub(crate) use schema::{SchemaDiff, SchemaDump, read as read_schema};
pub(crate) use session::{
    Access, Active, HasSession, Many, Produced, Producer, RowChannel, Session, SharedSession, Tried,
};
pub(crate) use share_policy::SharePolicy;
pub use share_policy::Sharing;
#[cfg(feature = "remote")]
pub(crate) use statement::Yield;
pub(crate) use statement::{Finish, Work, changed};
pub(crate) use verify::{Findings, verify};
pub use verify::{ForeignKeyFault, SchemaComparison, Verification};
pub(crate) use worker_thread::WorkerThread;
pub(crate) use writer::WriterPermit;
