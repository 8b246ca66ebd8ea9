//! The only place that touches SQLite connections: how they are opened, who may use them, where statements run and
//! who commits. The rest of the crate sees [`Engine`], [`Session`] and [`Work`].

mod assembly;
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
mod foreign;
mod guard;
mod inspect;
mod lane;
#[expect(
    clippy::disallowed_methods,
    reason = "it looks at the file and waits for it, on a lane"
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
mod statement;
mod trust;
#[expect(clippy::disallowed_methods, reason = "it waits for reads, on a lane")]
mod wal;
mod writer;

pub(crate) use assembly::Engine;
pub(crate) use backup::{back_up, sync_directory};
pub(crate) use checkpoint::PATIENCE;
pub(crate) use connection::{Conn, next_id};
pub(crate) use db::check_depth;
pub(crate) use end::{Savepoint, undo_write};
pub(crate) use inspect::{
    Contents, contents, foreign_key_violations, into_reader, is_wal, look, look_now, not_a_database,
};
pub(crate) use open::{Opener, Role, log_of};
pub(crate) use readers::{Place, end_read};
pub(crate) use schema::{SchemaDiff, SchemaDump, read as read_schema};
pub(crate) use session::{Kind, Session, Tried};
pub(crate) use statement::Work;
pub use trust::Sharing;
pub(crate) use trust::Trust;
pub(crate) use writer::WriterPermit;
