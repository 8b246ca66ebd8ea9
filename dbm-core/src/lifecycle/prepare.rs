//! Looks at the file and opens it, in one go on a thread: nothing of a file that is refused is changed.

use std::fs;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{Conn, Contents, Db, Opener, Role, SharedOpener, into_reader, look};
use crate::error::{Error, Result};
use crate::version::Version;

/// What is to be done before the manager can run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Migrate,
    Nothing,
}

/// The file as it was found, with the writer open.
pub(crate) struct Prepared {
    pub(crate) step: Step,
    pub(crate) reader: Option<Db>,
}

/// What a file with these contents needs, or why it is refused.
pub(crate) fn step_for(contents: &Contents, required: &Version) -> Result<Step> {
    match contents {
        Contents::Nothing => Ok(Step::Create),
        Contents::Version(stored) if stored == required => Ok(Step::Nothing),
        Contents::Version(stored) if stored < required => Ok(Step::Migrate),
        Contents::Version(stored) => Err(Error::TooNew {
            stored: stored.clone(),
            required: required.clone(),
        }),
    }
}

pub(crate) async fn prepare(
    writer: &Arc<Conn>,
    opener: &SharedOpener,
    required: &Version,
) -> Result<Prepared> {
    let (sender, receiver) = oneshot::channel();
    let (conn, opener, required) = (Arc::clone(writer), Arc::clone(opener), required.clone());
    writer.post(move || {
        let _ = sender.send(prepare_now(&conn, &opener, &required));
    })?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
}

fn prepare_now(writer: &Conn, opener: &Opener, required: &Version) -> Result<Prepared> {
    if is_new(opener)? {
        if !writer.is_open() {
            writer.adopt(opener.create()?);
        }
        return Ok(Prepared {
            step: Step::Create,
            reader: None,
        });
    }
    let (contents, connection) = look(opener)?;
    let step = step_for(&contents, required)?;
    if !writer.is_open() {
        writer.adopt(opener.open(Role::Writer)?);
    }
    let reader = into_reader(opener, connection)?;
    Ok(Prepared {
        step,
        reader: Some(reader),
    })
}

/// No file, or an empty one, as a crash right after the first open leaves it.
fn is_new(opener: &Opener) -> Result<bool> {
    let path = &opener.path;
    let failed = |error| Error::io(path, error);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(failed(io::Error::from(io::ErrorKind::IsADirectory)))
        }
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let stored = Contents::Version(Version::new(0, 9, 0));
        assert_eq!(
            step_for(&stored, &Version::new(0, 10, 0)).unwrap(),
            Step::Migrate
        );
        assert_eq!(
            step_for(&stored, &Version::new(0, 9, 0)).unwrap(),
            Step::Nothing
        );
        assert!(matches!(
            step_for(&stored, &Version::new(0, 8, 99)),
            Err(Error::TooNew { .. })
        ));
        assert_eq!(
            step_for(&Contents::Nothing, &Version::new(1, 0, 0)).unwrap(),
            Step::Create
        );
    }
}
