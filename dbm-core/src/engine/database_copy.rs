//! A copy of a database: made beside its place under a name of its own, checked and synced, and only then given its name.
//! So that name never leads to a part of a copy.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, Progress, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::open::{Opener, connect, is_busy, run_to_end, side_of};
use crate::error::{Error, Result};
use crate::value::bounded;

/// Pages that are copied at once.
const STEP: i32 = 256;
/// What has been written is synced each time it has grown by this much, so that no sync takes long.
const SYNC_EVERY: u64 = 8 << 20;
const SIDES: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A copy that is not finished. Dropping it removes it.
pub(super) struct DatabaseCopy {
    path: PathBuf,
    /// Kept open to the end: closing it would drop the lock that keeps others from making a copy of the same name.
    file: File,
    connection: Option<Connection>,
    synced: u64,
    /// Whether `path` leads to the file that was made here.
    is_own: bool,
}

/// How thoroughly a copy is checked.
pub(super) enum Check {
    Quick,
    Full,
}

impl DatabaseCopy {
    /// Begins a copy at `path` of a database of `opener`. What a crash has left there is removed.
    pub(super) fn begin(path: PathBuf, opener: &Opener) -> Result<Self> {
        remove_leftover(&path)?;
        let file = create_private(&path).map_err(|error| Error::io(&path, error))?;
        let mut copy = Self {
            path,
            file,
            connection: None,
            synced: 0,
            is_own: true,
        };
        let connection = opener.connect(&copy.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // A crash makes it useless in any case, so it needs no journal, and it is synced here. In this locking mode the lock of
        // the transaction is kept.
        let settings = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;
            BEGIN EXCLUSIVE; COMMIT";
        let locked = connection.execute_batch(settings).map_err(Error::from);
        copy.connection = Some(connection);
        match locked {
            Err(error) if is_busy(&error) => Err(copy.leave_to_the_other()),
            Ok(()) if copy.was_removed() => Err(copy.leave_to_the_other()),
            Err(error) => Err(error.at(&copy.path)),
            Ok(()) => Ok(copy),
        }
    }

    /// Somebody else has begun a copy of this name before the lock was taken here.
    #[cfg(unix)]
    fn was_removed(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().map_or(true, |file| file.nlink() == 0)
    }

    /// On Windows an open file cannot be removed.
    #[cfg(not(unix))]
    fn was_removed(&self) -> bool {
        false
    }

    /// What has this name now is the other one's.
    fn leave_to_the_other(mut self) -> Error {
        self.is_own = false;
        in_use(&self.path)
    }

    /// Copies all of `source`. `after_step` is called after each step, and ends the copy with an error.
    pub(super) fn fill(
        &mut self,
        source: &Connection,
        mut after_step: impl FnMut(&Progress) -> Result<()>,
    ) -> Result<()> {
        let copied = self.copy(source, &mut after_step);
        copied.map_err(|error| error.at(&self.path))
    }

    fn copy(
        &mut self,
        source: &Connection,
        after_step: &mut impl FnMut(&Progress) -> Result<()>,
    ) -> Result<()> {
        let Self {
            path,
            file,
            connection: Some(connection),
            synced,
            ..
        } = self
        else {
            return Err(Error::HandleEnded);
        };
        let failed = |error| Error::io(path.as_path(), error);
        let backup = Backup::new(source, connection)?;
        loop {
            let step = backup.step(STEP)?;
            let length = file.metadata().map_err(failed)?.len();
            if length.saturating_sub(*synced) >= SYNC_EVERY {
                file.sync_data().map_err(failed)?;
                *synced = length;
            }
            after_step(&backup.progress())?;
            if step == StepResult::Done {
                break;
            }
        }
        drop(backup);
        // WAL mode is stored in the file (sqlite.org/wal.html), so the copy is in it as well. In any other mode it can be read
        // without side files.
        run_to_end(connection, "PRAGMA journal_mode = MEMORY")?;
        Ok(())
    }

    /// The copy itself, which nobody else can open.
    pub(super) fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or(Error::HandleEnded)
    }

    pub(super) fn check(&self, check: &Check) -> Result<()> {
        let sql = match check {
            Check::Quick => "PRAGMA quick_check(1)",
            Check::Full => "PRAGMA integrity_check(1)",
        };
        let verdict: String = self
            .connection()?
            .query_row(sql, (), |row| row.get(0))
            .map_err(|error| Error::from(error).at(&self.path))?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(Error::Backup {
            message: bounded(verdict),
        })
    }

    /// Makes the contents durable, with this mode.
    pub(super) fn sync(&mut self, mode: Permissions) -> Result<()> {
        let failed = |error| Error::io(&self.path, error);
        // On Windows an open file cannot be renamed. Elsewhere the connection keeps its lock until the copy has its name.
        #[cfg(not(unix))]
        drop(self.connection.take());
        // The file was opened first: Windows syncs only what was opened for writing, and the mode may forbid that.
        fs::set_permissions(&self.path, mode).map_err(failed)?;
        self.file.sync_all().map_err(failed)
    }

    /// Gives the copy its name, durably, without replacing a file. False if the name is taken.
    pub(super) fn publish(&mut self, name: &Path) -> Result<bool> {
        let failed = |error| Error::io(name, error);
        match fs::hard_link(&self.path, name) {
            Ok(()) => {
                let _ = remove(&self.path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(_) if is_taken(name)? => return Ok(false),
            // The file system has no hard links.
            Err(_) => fs::rename(&self.path, name).map_err(failed)?,
        }
        self.is_own = false;
        sync_directory(name).map_err(failed)?;
        Ok(true)
    }

    /// Puts the copy in the place of a file, in one step.
    pub(super) fn replace(mut self, name: &Path) -> Result<()> {
        let failed = |error| Error::io(name, error);
        fs::rename(&self.path, name).map_err(failed)?;
        self.is_own = false;
        sync_directory(name).map_err(failed)
    }
}

impl Drop for DatabaseCopy {
    fn drop(&mut self) {
        self.connection = None;
        if self.is_own {
            let _ = remove(&self.path);
        }
    }
}

/// Removes what a crash has left. Fails if somebody is making a copy of this name.
fn remove_leftover(path: &Path) -> Result<()> {
    if !is_taken(path)? {
        return Ok(());
    }
    let lock = || -> Result<Connection> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(connection)
    };
    let lock = match lock() {
        Err(error) if is_busy(&error) => return Err(in_use(path)),
        // Free, or not even a database. Whoever begins a copy at this moment finds that its file was removed.
        lock => lock.ok(),
    };
    // On Windows an open file cannot be removed.
    #[cfg(not(unix))]
    let lock = drop(lock);
    let removed = remove(path).map_err(|error| Error::io(path, error));
    drop(lock);
    removed
}

fn in_use(path: &Path) -> Error {
    Error::io(path, ErrorKind::ResourceBusy.into())
}

/// Whether something has this name, even a link that leads nowhere. A disk that cannot tell is an error, for what is there would
/// be overwritten. Nothing is opened: closing a file drops the locks that this process has on it
/// (sqlite.org/howtocorrupt.html, section 2.2).
pub(super) fn is_taken(name: &Path) -> Result<bool> {
    match fs::symlink_metadata(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(name, error)),
    }
}

/// `file.ending`
pub(super) fn with_ending(file: &Path, ending: &str) -> PathBuf {
    side_of(file, &format!(".{ending}"))
}

/// Removes a database and its side files.
fn remove(database: &Path) -> io::Result<()> {
    let sides = SIDES.map(|side| side_of(database, side));
    for path in std::iter::once(database).chain(sides.iter().map(PathBuf::as_path)) {
        remove_if_there(path)?;
    }
    Ok(())
}

pub(super) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the copy private until it has its mode.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the name of a file or directory durable: syncing the file itself need not.
#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // The process may enter but not read the directory, or the file system cannot sync one.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Windows offers no such call. NTFS keeps a journal of names.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_directory_that_cannot_be_synced_is_an_error() {
        let error = sync_directory(Path::new("/no such directory/file")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
