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
mod engine;
mod foreign;
mod guard;
mod idle;
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
mod settings;
mod share_policy;
mod statement;
mod temp_objects;
pub(crate) mod timer;
#[expect(
    clippy::disallowed_methods,
    reason = "it waits for reads, on a worker thread"
)]
mod wal;
mod worker_thread;
mod writer;

pub(crate) use backup::{back_up, sync_directory};
pub(crate) use checkpoint::TRUNCATE_WAIT;
pub(crate) use connection::{Conn, next_id};
pub(crate) use db::check_depth;
pub(crate) use end::{Savepoint, undo_write};
pub(crate) use engine::Engine;
pub(crate) use inspect::{
    Contents, contents, foreign_key_violations, into_reader, is_wal, look, look_now, not_a_database,
};
pub(crate) use open::{Opener, Role, log_of};
pub(crate) use readers::{ReaderPermit, end_read};
pub(crate) use schema::{SchemaDiff, SchemaDump, read as read_schema};
pub(crate) use session::{Access, Session, Tried};
pub(crate) use share_policy::SharePolicy;
pub use share_policy::Sharing;
pub(crate) use statement::Work;
pub(crate) use writer::WriterPermit;
