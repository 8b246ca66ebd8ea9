//! The only place that touches SQLite connections: how they are opened, who may use them, where statements run and
//! who commits. The rest of the crate sees [`Engine`], [`Session`] and [`Work`].

#[expect(clippy::disallowed_methods, reason = "backups are files")]
mod backup;
#[expect(
    clippy::disallowed_methods,
    reason = "it warns of a log that cannot shrink"
)]
mod checkpoint;
mod commit_outcome;
mod connection;
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
mod inside;
mod inspect;
#[expect(
    clippy::disallowed_methods,
    reason = "it looks at the file and waits for it, on a worker thread"
)]
mod open;
mod read_mark;
mod readers;
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "the test kit shows it")
)]
pub(crate) mod schema;
mod session;
mod share_policy;
mod statement;
mod verify;
#[expect(
    clippy::disallowed_methods,
    reason = "it waits for reads, on a worker thread"
)]
mod wal;
mod worker_thread;
mod writer;

pub(crate) use backup::{back_up, sync_directory};
pub(crate) use checkpoint::TRUNCATE_WAIT;
pub(crate) use connection::Conn;
pub(crate) use db::{Db, MAX_DEPTH};
pub(crate) use end::{Savepoint, undo_write};
pub(crate) use engine::Engine;
pub(crate) use foreign_keys::ForeignKeys;
pub(crate) use foreign_log::refuse_foreign_log;
pub(crate) use inside::{inside_of, unless_inside, waits_for_itself};
pub(crate) use inspect::{Contents, contents, into_reader, is_wal, look, look_now, not_a_database};
pub(crate) use open::{Opener, Role, log_of};
pub(crate) use readers::{ReaderPermit, end_read};
pub(crate) use schema::{SchemaDiff, SchemaDump, read as read_schema};
pub(crate) use session::{Access, Session, Tried};
pub(crate) use share_policy::SharePolicy;
pub use share_policy::Sharing;
pub(crate) use statement::{Finish, Work, execute};
pub(crate) use verify::verify;
pub use verify::{ForeignKeyFault, Verification};
pub(crate) use writer::WriterPermit;
