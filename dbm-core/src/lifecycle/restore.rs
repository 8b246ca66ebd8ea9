//! A backup takes the place of a database that no manager has open.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::prepare::make_directory;
use crate::config::Config;
use crate::engine::{self, Opener, Restored, SharedOpener, WorkerThread};
use crate::error::{Error, Result};
use crate::unique_id::next_id;
use crate::version::Version;
use crate::waking::contained;

/// Puts a backup in the place of the database that `config` names, which may be missing or damaged. It needs no runtime.
/// [`DbManager::restore`](crate::DbManager::restore) gives it the version of the program.
///
/// The backup is checked first: that it is a database of this library, its version, and all of its pages
/// (`PRAGMA integrity_check`). It is not changed. The file that is replaced is kept as `<database>.replaced`, with a number
/// if that name is taken. There is no moment without a file: after a crash it is the old one or the new one. A log that
/// belongs to another file is never read with it. The mode of the file stays. Jobs that come with it are held until they are
/// released: some may have been done since.
///
/// No program may have the database open; start none meanwhile. A manager that was idle may have closed its file. It is not
/// noticed here, and its next write fails with [`Error::FileReplaced`]. If the header of a damaged file is destroyed, SQLite
/// cannot tell whether it is in use.
///
/// ```
/// # use dbm_core::prelude::*;
/// # async fn f() -> Result<()> {
/// let newest = Version::new(1, 2, 0);
/// let restored = dbm_core::restore("copies/monday.db", Config::new("data"), newest).await?;
/// println!("{} has version {} now", restored.database.display(), restored.version);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// With any of them the database is as before:
///
/// - [`Error::DatabaseOpen`]: close it first;
/// - [`Error::TooNew`]: the backup has a version above `at_most`;
/// - [`Error::ForeignDatabase`], [`Error::InvalidVersion`], [`Error::Backup`], [`Error::Sqlite`]: it is no backup of this
///   library, or it is damaged or cut short;
/// - [`Error::LogBeside`]: a log lies beside it;
/// - [`Error::Refused`]: a later release of dbm has made its tables of jobs;
/// - [`Error::Config`]: a database in memory, `read_only`, or the backup is the database itself;
/// - [`Error::Io`]: a file is missing, or the system refuses something. If it refuses only the last sync of the directory, the
///   new file is there, but perhaps not after a power cut.
///
/// # Cancel safety
///
/// Dropped before the file is replaced, it changes nothing. Dropped later, it replaces the file all the same.
pub async fn restore(
    backup: impl Into<PathBuf> + Send,
    config: Config,
    at_most: Version,
) -> Result<Restored> {
    let backup = backup.into();
    if config.read_only {
        return Err(refused("`restore` writes, and `read_only` does not"));
    }
    let (path, temporary) = config.resolve()?;
    if temporary.is_some() {
        return Err(refused(
            "`restore` needs a file, and `in_memory` is a new one",
        ));
    }
    let opener = Opener::of_manager(next_id(), path, config, Arc::default());
    let _ends = GiveUpOnDrop(Arc::clone(&opener));
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let made = opener.path.parent().map_or(Ok(()), |directory| {
            make_directory(directory).map_err(|error| Error::io(directory, error))
        });
        let restored = made.and_then(|()| engine::restore(&backup, &opener, &at_most));
        // A waker is code of others.
        contained(|| drop(sender.send(restored)));
    };
    let thread = WorkerThread::default();
    thread.post(work)?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
}

fn refused(message: &str) -> Error {
    Error::Config {
        message: message.to_owned(),
    }
}

struct GiveUpOnDrop(SharedOpener);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
