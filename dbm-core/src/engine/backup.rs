//! The backup before a migration, made while the library holds the writer.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::database_copy::{Check, DatabaseCopy, with_ending};
use super::guard::Patience;
use super::open::Opener;
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
    let name = with_ending(&file, &format!("{version}.backup"));
    let finished = publish(&mut copy(opener, &file)?, &name)?;
    // The standard library panics if the system cannot close a directory.
    let _ = catch_unwind(|| remove_old(&file, &finished, config.keep_backups));
    Ok(Some(finished))
}

fn copy(opener: &Opener, file: &Path) -> Result<DatabaseCopy> {
    let mut copy = DatabaseCopy::begin(with_ending(file, UNFINISHED), opener)?;
    let source = opener.connect_read_only(file, opener.config.busy_timeout)?;
    copy.fill(&source, |_| {
        if opener.is_given_up() {
            return Err(Error::Closed { method: "start" });
        }
        Ok(())
    })?;
    drop(source);
    opener.bound(copy.connection()?, Patience::GivenUp)?;
    copy.check(&Check::Quick)?;
    let mode = fs::metadata(file).map_err(|error| Error::io(file, error))?;
    copy.sync(mode.permissions())?;
    Ok(copy)
}

/// Gives the copy its final name, with a number if that is taken. The library holds the write lock, so no other process makes
/// a backup here.
fn publish(copy: &mut DatabaseCopy, name: &Path) -> Result<PathBuf> {
    for number in 0..1_000_u32 {
        let name = match number {
            0 => name.to_owned(),
            number => with_ending(name, &number.to_string()),
        };
        if copy.publish(&name)? {
            return Ok(name);
        }
    }
    Err(Error::TargetExists { path: name.into() })
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
