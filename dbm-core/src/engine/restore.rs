//! A backup takes the place of a database.
//!
//! Each step leaves the old database or the new one under the name, never none and never half of one, and no log that
//! belongs to another file:
//!
//! 1. The backup is copied beside the database, checked and synced, under a name of its own.
//! 2. The database leaves WAL mode, which removes its log. SQLite refuses that while anybody else has it open.
//! 3. It gets a second name. Both the removal of the log and the second name are made durable.
//! 4. The copy takes the first name. That is one step of the file system.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::database_copy::{
    Check, DatabaseCopy, is_taken, remove_if_there, sync_directory, with_ending,
};
use super::foreign_log::refuse_foreign_log;
use super::guard::Patience;
use super::inspect::{Contents, look, not_a_database};
use super::job_tables::hold_jobs;
use super::open::{Opener, SharedOpener, is_busy, run_to_end, side_of};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::unique_id::next_id;
use crate::version::Version;

const UNFINISHED: &str = "restore-unfinished";
const REPLACED: &str = "replaced";
const METHOD: &str = "restore";

/// What [`restore`](crate::restore) has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The database that was restored, as an absolute path.
    pub database: PathBuf,
    /// The version of the backup, and so of the database now.
    pub version: Version,
    /// How many jobs came with it. They are held until [`Jobs::release`] lets them run: they may have been done after the
    /// backup was made.
    ///
    #[cfg_attr(feature = "jobs", doc = "[`Jobs::release`]: crate::Jobs::release")]
    #[cfg_attr(not(feature = "jobs"), doc = "[`Jobs::release`]: crate#features")]
    pub held_jobs: usize,
    /// The file that was replaced. `None` if there was none.
    pub replaced: Option<PathBuf>,
}

/// Replaces the database that `opener` leads to. Blocks for long. Ends before it has changed anything if the opener is given up.
pub(crate) fn restore(backup: &Path, opener: &Opener, at_most: &Version) -> Result<Restored> {
    let backup = std::path::absolute(backup).map_err(|error| Error::io(backup, error))?;
    let database = place_of(&opener.path)?;
    let mut copy = DatabaseCopy::begin(with_ending(&database, UNFINISHED), opener)?;
    let version = copy_backup(&backup, &database, opener, at_most, &mut copy)?;
    let held_jobs = hold_jobs(copy.connection()?).map_err(|error| error.at(&backup))?;
    copy.sync(mode_for(&database, &backup, opener)?)?;
    go_on(opener)?;
    let old = Old::take(&database, opener.config.clone())?;
    let replaced = old.put_aside()?;
    // On Windows an open file cannot be replaced.
    #[cfg(not(unix))]
    let old = drop(old);
    copy.replace(&database)?;
    drop(old);
    Ok(Restored {
        database,
        version,
        held_jobs,
        replaced,
    })
}

fn go_on(opener: &Opener) -> Result<()> {
    if opener.is_given_up() {
        return Err(Error::Closed { method: METHOD });
    }
    Ok(())
}

/// The file itself, where a link leads to it.
fn place_of(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !is_taken(path)? => Ok(path.into()),
        place => place.map_err(|error| Error::io(path, error)),
    }
}

/// Checks the backup and copies it.
fn copy_backup(
    backup: &Path,
    database: &Path,
    opener: &Opener,
    at_most: &Version,
    copy: &mut DatabaseCopy,
) -> Result<Version> {
    let file = fs::canonicalize(backup).map_err(|error| Error::io(backup, error))?;
    if file == database {
        return Err(Error::Config {
            message: "the backup is the database itself".to_owned(),
        });
    }
    refuse_log(&file)?;
    let source = Source(opener_for(file, opener.config.clone().read_only()));
    let (contents, connection) = look(&source.0).map_err(|error| error.at(backup))?;
    let version = match contents {
        Contents::Version(version) => version,
        Contents::Nothing => return Err(not_a_database().at(backup)),
        Contents::Foreign | Contents::NameTaken { .. } => {
            return Err(Error::ForeignDatabase {
                path: backup.into(),
            });
        }
    };
    if version > *at_most {
        return Err(Error::TooNew {
            path: backup.into(),
            stored: version.into(),
            required: at_most.clone().into(),
        });
    }
    refuse_part(&connection, &source.0.path).map_err(|error| error.at(backup))?;
    copy.fill(&connection, |_| go_on(opener))
        .map_err(|error| match is_beyond_use(&error) {
            true => error.at(backup),
            false => error,
        })?;
    drop(connection);
    drop(source);
    opener.bound(copy.connection()?, Patience::GivenUp)?;
    copy.check(&Check::Full).map_err(|error| error.at(backup))?;
    Ok(version)
}

/// The backup, which is only read.
struct Source(SharedOpener);

/// Opens another file with the same settings, and waits for nobody.
fn opener_for(file: PathBuf, config: Config) -> SharedOpener {
    let config = config.busy_timeout(Duration::ZERO);
    Opener::of_manager(next_id(), file, config, Arc::default())
}

impl Drop for Source {
    /// To read a file in WAL mode SQLite makes a log. Only a connection that may write removes it.
    fn drop(&mut self) {
        if self.0.has_empty_log() {
            self.0.remove_log(Duration::ZERO);
        }
    }
}

/// Part of a backup may be in a log beside it. Or the log is of another file, and SQLite would apply it to the backup.
fn refuse_log(backup: &Path) -> Result<()> {
    for ending in ["-wal", "-journal"] {
        let log = side_of(backup, ending);
        if is_taken(&log)? && length_of(&log)? > 0 {
            let fix = "if it belongs to the backup, open and close that with the program that made it; otherwise remove it";
            return Err(Error::LogBeside {
                log: log.into(),
                fix,
            });
        }
    }
    Ok(())
}

fn length_of(file: &Path) -> Result<u64> {
    let metadata = fs::metadata(file).map_err(|error| Error::io(file, error))?;
    Ok(metadata.len())
}

/// SQLite reads what is missing of the last page as zeros. Its check cannot tell these from content.
fn refuse_part(connection: &Connection, backup: &Path) -> Result<()> {
    let page: u64 = connection.query_row("PRAGMA main.page_size", (), |row| row.get(0))?;
    if length_of(backup)?.is_multiple_of(page) {
        return Ok(());
    }
    Err(Error::Backup {
        message: "it was cut short within a page".to_owned(),
    })
}

/// The mode of the file that is replaced. Without one, that of the backup, but its owner may write.
fn mode_for(database: &Path, backup: &Path, opener: &Opener) -> Result<Permissions> {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
        Ok(metadata.permissions())
    };
    if is_taken(database)? {
        return of(database);
    }
    let mode = of(backup)?;
    #[cfg(unix)]
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        let private = opener.config.private_files;
        Permissions::from_mode(if private { 0o600 } else { mode.mode() | 0o600 })
    };
    Ok(mode)
}

/// The file that is replaced.
struct Old<'a> {
    database: &'a Path,
    is_there: bool,
    /// Keeps others out until the file is replaced. `None` if SQLite cannot open it.
    _lock: Option<Connection>,
}

impl<'a> Old<'a> {
    /// Makes sure that nobody else has it open, and that its log is part of it.
    fn take(database: &'a Path, config: Config) -> Result<Self> {
        let lock = match lock(database, config) {
            Ok(lock) => lock,
            Err(error) if is_busy(&error) => {
                return Err(Error::DatabaseOpen {
                    path: database.into(),
                });
            }
            Err(error) if is_beyond_use(&error) => None,
            Err(error) => return Err(error.at(database)),
        };
        Ok(Self {
            database,
            is_there: is_taken(database)?,
            _lock: lock,
        })
    }

    /// Gives it a second name, under which it stays. So do the files beside it that SQLite could not make part of it.
    fn put_aside(&self) -> Result<Option<PathBuf>> {
        let database = self.database;
        let failed = |error| Error::io(database, error);
        let sides = ["-wal", "-journal"].map(|side| (side, side_of(database, side)));
        let mut left = Vec::new();
        for (side, path) in sides {
            if is_taken(&path)? {
                left.push((side, path));
            }
        }
        if !self.is_there && left.is_empty() {
            return Ok(None);
        }
        let aside = free_name(database)?;
        for (side, path) in &left {
            keep(path, &side_of(&aside, side))?;
        }
        if self.is_there {
            keep(database, &aside)?;
        }
        sync_directory(database).map_err(failed)?;
        // From here on the database is without a log, whichever file has its name.
        for side in ["-wal", "-journal", "-shm"] {
            remove_if_there(&side_of(database, side)).map_err(failed)?;
        }
        if !left.is_empty() {
            sync_directory(database).map_err(failed)?;
        }
        Ok(Some(aside))
    }
}

/// An exclusive connection to the file, once its log is part of it. `None` if there is no file.
fn lock(database: &Path, config: Config) -> Result<Option<Connection>> {
    let opener = opener_for(database.into(), config);
    // Also for a file that is missing: then its log is the only copy of what was acknowledged.
    refuse_foreign_log(&opener)?;
    if !is_taken(database)? {
        return Ok(None);
    }
    // This rolls a hot journal back, unless that is of another file.
    drop(look(&opener)?);
    let connection = opener.connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::ZERO)?;
    run_to_end(&connection, "PRAGMA journal_mode = DELETE")?;
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    Ok(Some(connection))
}

/// Whether an error is about what is in the file: a backup may replace that, and nobody can use it.
fn is_beyond_use(error: &Error) -> bool {
    let is_damaged = matches!(
        error.primary_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    is_damaged
        || matches!(
            error,
            Error::ForeignLog { .. } | Error::InvalidVersion { .. } | Error::Timeout { .. }
        )
}

/// `<database>.replaced`, with a number if that is taken.
fn free_name(database: &Path) -> Result<PathBuf> {
    let first = with_ending(database, REPLACED);
    let (mut name, mut number) = (first.clone(), 0_u32);
    while is_any_taken(&name)? {
        number += 1;
        name = with_ending(&first, &number.to_string());
    }
    Ok(name)
}

fn is_any_taken(database: &Path) -> Result<bool> {
    for side in ["", "-wal", "-journal"] {
        if is_taken(&side_of(database, side))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives a file a second name. Where the file system knows no such thing, it is copied.
fn keep(file: &Path, aside: &Path) -> Result<()> {
    let failed = |error| Error::io(aside, error);
    match fs::hard_link(file, aside) {
        // Closing the copied file drops the lock on it. Nobody else had it open, so only a start at this moment gets in.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            fs::copy(file, aside).map_err(failed)?;
            let copy = fs::OpenOptions::new().write(true).open(aside);
            copy.and_then(|copy| copy.sync_all()).map_err(failed)
        }
        linked => linked.map_err(failed),
    }
}
