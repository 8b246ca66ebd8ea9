//! A copy of the committed state, made while the library holds the writer.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;
use rusqlite::backup::{Backup, StepResult};

use super::guard::Patience;
use super::open::{Opener, run_to_end};
use crate::error::{Error, Result};
use crate::version::Version;

/// Suffix of an incomplete copy. If a crash leaves one behind, the next backup removes it.
const UNFINISHED: &str = "backup-unfinished";

/// Copies the database to `<name>.<version>.backup` beside it, with a number appended if that name exists: no file is
/// ever overwritten. Removes this database's oldest backups beyond `keep`. The copy is made by SQLite's online backup:
/// sqlite.org/backup.html.
pub(crate) fn back_up(opener: &Opener, version: &Version) -> Result<Option<PathBuf>> {
    let (path, config) = (&opener.path, &opener.config);
    if config.keep_backups == 0 {
        return Ok(None);
    }
    // Resolves links: the copy belongs beside the file itself, on the same file system, not beside a link to it.
    let file = fs::canonicalize(path).map_err(|error| Error::io(path, error))?;
    let unfinished = with_ending(&file, UNFINISHED);
    let finished = copy(opener, &file, &unfinished).and_then(|()| {
        publish(
            &unfinished,
            &with_ending(&file, &format!("{version}.backup")),
        )
    });
    if finished.is_err() {
        let _ = remove_unfinished(&unfinished);
    }
    let finished = finished?;
    // The standard library panics if the system cannot close a directory.
    let _ = catch_unwind(|| remove_old(&file, &finished, config.keep_backups));
    Ok(Some(finished))
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn copy(opener: &Opener, from: &Path, to: &Path) -> Result<()> {
    let failed = |error| Error::io(to, error);
    remove_unfinished(to).map_err(failed)?;
    create_private(to).map_err(failed)?;
    {
        let source = opener.connect_read_only(from, opener.config.busy_timeout)?;
        let mut copy = opener.connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let backup = Backup::new(&source, &mut copy)?;
        while backup.step(1_000)? != StepResult::Done {
            if opener.is_given_up() {
                return Err(Error::Closed { method: "start" });
            }
        }
        drop(backup);
        opener.bound(&copy, Patience::GivenUp)?;
        // WAL mode is stored in the file (sqlite.org/wal.html), so the copy is in it as well. In DELETE mode the check
        // leaves no side files.
        run_to_end(&copy, "PRAGMA journal_mode = DELETE")?;
        let verdict: String = copy.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Error::Backup {
                message: crate::value::bounded(verdict),
            });
        }
    }
    let mode = fs::metadata(from)
        .map_err(|error| Error::io(from, error))?
        .permissions();
    // Windows flushes only files that were opened for writing, and the mode may forbid that. So the file is opened
    // first.
    let copy = OpenOptions::new().write(true).open(to).map_err(failed)?;
    fs::set_permissions(to, mode).map_err(failed)?;
    copy.sync_all().map_err(failed)
}

/// Removes an incomplete copy and its side files.
fn remove_unfinished(copy: &Path) -> io::Result<()> {
    for side in ["", "-journal", "-wal", "-shm"] {
        let mut path = copy.as_os_str().to_owned();
        path.push(side);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Keeps the copy private until it has the mode of the original.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Gives the copy its final name, without replacing a file.
fn publish(unfinished: &Path, name: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(name, error);
    for number in 0..1_000_u32 {
        let name = if number == 0 {
            name.to_owned()
        } else {
            with_ending(name, &number.to_string())
        };
        match fs::hard_link(unfinished, &name) {
            Ok(()) => {
                let _ = remove_unfinished(unfinished);
                sync_directory(&name).map_err(failed)?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // The file system has no hard links. The check for the name is enough: the library holds the write lock, so
            // no other process makes a backup here.
            Err(_) if !name.exists() => {
                fs::rename(unfinished, &name).map_err(failed)?;
                sync_directory(&name).map_err(failed)?;
                return Ok(name);
            }
            Err(_) => {}
        }
    }
    Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)))
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
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
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

/// Removes backups of this database beyond the newest `keep`. Those that cannot be removed stay.
fn remove_old(file: &Path, newest: &Path, keep: usize) {
    let (Some(directory), Some(prefix)) = (
        file.parent(),
        file.file_name().and_then(|name| name.to_str()),
    ) else {
        return;
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut backups: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path() != newest)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| is_backup(name, prefix))
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    backups.sort();
    let surplus = (backups.len() + 1).saturating_sub(keep);
    for (_, path) in backups.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}

/// Whether the name is `<prefix>.<major>.<minor>.<patch>.backup`, possibly followed by a number.
fn is_backup(name: &str, prefix: &str) -> bool {
    let Some(rest) = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('.'))
    else {
        return false;
    };
    let Some((version, number)) = rest.split_once(".backup") else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Version::parse(version).is_ok()
        && (number.is_empty() || number.strip_prefix('.').is_some_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_directory_that_cannot_be_synced_is_an_error() {
        let error = sync_directory(Path::new("/no such directory/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_our_own_backups_are_recognised() {
        for name in ["a.db.1.0.0.backup", "a.db.1.0.0.backup.7"] {
            assert!(is_backup(name, "a.db"), "{name}");
        }
        for name in [
            "a.db",
            "a.db.backup",
            "b.db.1.0.0.backup",
            "a.db.1.0.backup",
            "a.db.1.0.0.backup.x",
            "a.db.1.0.0.backups",
        ] {
            assert!(!is_backup(name, "a.db"), "{name}");
        }
    }
}
