//! Inspects the file and opens it, in one job on a thread. A file that is refused is left unchanged.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::Execution;
use crate::engine::{
    Conn, Contents, Engine, Opener, Role, TRUNCATE_WAIT, into_reader, is_wal, log_of, look,
    look_now, not_a_database, refuse_foreign_log, sync_directory,
};
use crate::error::{Error, Result};
use crate::version::Version;

const SMALLEST_PAGE: u64 = 512;

/// What has to be done before the manager can run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    /// To adopt it, to migrate it, or both.
    Migrate,
    Nothing,
}

/// The step that a database with these contents needs, or why it is refused.
pub(crate) fn step_for(
    contents: Contents,
    path: &Path,
    adopt: Option<&Version>,
    required: &Version,
) -> Result<Step> {
    let path = || path.into();
    let stored = match (contents, adopt) {
        (Contents::Nothing, _) => return Ok(Step::Create),
        (Contents::Version(stored), _) if stored == *required => return Ok(Step::Nothing),
        (Contents::Version(stored), _) => stored,
        (Contents::Foreign, Some(version)) => version.clone(),
        (Contents::Foreign, None) => return Err(Error::ForeignDatabase { path: path() }),
        (Contents::NameTaken { kind, name }, _) => {
            return Err(Error::VersionNameTaken {
                path: path(),
                kind,
                name,
            });
        }
    };
    if stored <= *required {
        return Ok(Step::Migrate);
    }
    Err(Error::TooNew {
        path: path(),
        stored: stored.into(),
        required: required.clone().into(),
    })
}

fn step_of_file(contents: Contents, opener: &Opener, required: &Version) -> Result<Step> {
    step_for(
        contents,
        &opener.path,
        opener.config.adopt.as_ref(),
        required,
    )
}

/// Runs on the first reader's worker thread, unless the file is ready and opening it takes no time.
pub(crate) async fn prepare(
    engine: &Arc<Engine>,
    reader: &Arc<Conn>,
    required: &Version,
) -> Result<Step> {
    if is_at_rest(&engine.opener) && open_now(&engine.opener, reader, required).is_some() {
        return Ok(Step::Nothing);
    }
    let (sender, receiver) = oneshot::channel();
    let (engine, conn, required) = (Arc::clone(engine), Arc::clone(reader), required.clone());
    let prepare = move || {
        let prepared = prepare_now(&engine, &conn, &required);
        // A reader of a file in WAL mode creates side files that only a connection which may write removes
        // (sqlite.org/walformat.html).
        let may_write = !engine.opener.config.read_only;
        if prepared.is_err() && may_write && engine.opener.has_empty_log() {
            engine.opener.remove_log(TRUNCATE_WAIT);
        }
        prepared
    };
    reader.post(prepare, |result| drop(sender.send(result)))?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
}

/// Whether the file's last user has closed it: there is no log to recover. Nor is there an `on_open`, which may take any
/// time.
fn is_at_rest(opener: &Opener) -> bool {
    opener.config.execution != Execution::Offload
        && opener.config.on_open.is_none()
        && fs::symlink_metadata(&opener.path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() >= SMALLEST_PAGE)
        && fs::symlink_metadata(log_of(&opener.path)).is_err()
}

/// Opens a database that needs no step. `None` if it needs one.
fn open_now(opener: &Opener, reader: &Conn, required: &Version) -> Option<()> {
    let (contents, connection) = look_now(opener)?;
    let ready = contents == Contents::Version(required.clone()) && is_wal(&connection).ok()?;
    if !ready {
        return None;
    }
    reader.take_over(into_reader(opener, connection).ok()?);
    Some(())
}

fn prepare_now(engine: &Engine, reader: &Conn, required: &Version) -> Result<Step> {
    let opener = &engine.opener;
    if opener.config.read_only {
        return prepare_to_read(opener, reader, required);
    }
    if let Some(directory) = opener.path.parent() {
        make_directory(directory).map_err(|error| Error::io(directory, error))?;
    }
    let writer = &engine.writer.conn;
    let is_empty = length(opener)? == 0;
    refuse_foreign_log(opener)?;
    if is_empty {
        if !writer.is_open() {
            writer.take_over(opener.create()?);
        }
        return Ok(Step::Create);
    }
    let (contents, connection) = look(opener)?;
    if contents == Contents::Nothing && has_no_page(opener)? {
        return Err(not_a_database());
    }
    let step = step_of_file(contents, opener, required)?;
    let opened_by_first_write =
        step == Step::Nothing && opener.patiently(|| is_wal(&connection))?;
    if !opened_by_first_write && !writer.is_open() {
        writer.take_over(opener.open(Role::Writer)?);
    }
    reader.take_over(into_reader(opener, connection)?);
    Ok(step)
}

/// The same for a manager that only reads. A file that needs a step is refused.
fn prepare_to_read(opener: &Opener, reader: &Conn, required: &Version) -> Result<Step> {
    let no_database = || Error::NoDatabase {
        path: opener.path.as_path().into(),
    };
    if length(opener)? == 0 {
        return Err(no_database());
    }
    refuse_foreign_log(opener)?;
    let (contents, connection) = look(opener)?;
    match contents {
        Contents::Nothing if has_no_page(opener)? => Err(not_a_database()),
        Contents::Nothing => Err(no_database()),
        Contents::Version(stored) if stored < *required => Err(Error::TooOld {
            path: opener.path.as_path().into(),
            stored: stored.into(),
            required: required.clone().into(),
        }),
        contents => {
            let step = step_of_file(contents, opener, required)?;
            reader.take_over(into_reader(opener, connection)?);
            Ok(step)
        }
    }
}

/// Whether a file is not empty but too short for a database: SQLite would take it for empty and overwrite it.
fn has_no_page(opener: &Opener) -> Result<bool> {
    Ok((1..SMALLEST_PAGE).contains(&length(opener)?))
}

/// Length of the file in bytes, 0 if there is none. A crash right after the first open leaves an empty file.
fn length(opener: &Opener) -> Result<u64> {
    let path = &opener.path;
    let failed = |error| Error::io(path, error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed(error)),
    }
}

/// Creates a directory and its parents, and makes their names durable, so that they survive a power loss like the file
/// in them.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for directory in directory.ancestors() {
        match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(directory),
            Err(error) => return Err(error),
        }
    }
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            // Another process was first.
            Err(_) if directory.is_dir() => {}
            result => result?,
        }
        sync_directory(directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::config::Config;
    use crate::temporary::TemporaryDirectory;

    #[test]
    fn a_directory_that_several_make_at_once_is_made_for_all_of_them() {
        let temporary = TemporaryDirectory::new().unwrap();
        for round in 0..50 {
            let directory = temporary.path().join(format!("{round}/a/b/c"));
            let together = Barrier::new(4);
            std::thread::scope(|scope| {
                let make = || {
                    together.wait();
                    make_directory(&directory)
                };
                let made: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                for made in made {
                    made.join().unwrap().unwrap();
                }
            });
            assert!(directory.is_dir());
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let step = |contents, config, required| {
            step_of_file(contents, &Opener::new("file".into(), config), &required)
        };
        let (stored, config) = (Version::new(0, 9, 0), Config::new(""));
        let stored_in = || Contents::Version(stored.clone());
        let adopts = config.clone().adopt(stored.clone());
        for (contents, config) in [(stored_in(), config.clone()), (Contents::Foreign, adopts)] {
            let newer = step(contents.clone(), config.clone(), Version::new(0, 10, 0));
            assert_eq!(newer.unwrap(), Step::Migrate);
            let older = step(contents, config, Version::new(0, 8, 99));
            assert!(matches!(older, Err(Error::TooNew { .. })));
        }
        let same = step(stored_in(), config.clone(), stored.clone());
        assert_eq!(same.unwrap(), Step::Nothing);
        let new = step(Contents::Nothing, config, Version::new(1, 0, 0));
        assert_eq!(new.unwrap(), Step::Create);
    }
}
