//! One bot stores readings in a folder: with two of them everything would be there twice.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::error::Result;

/// Takes the folder, unless another bot has it. It is free again when the file is closed, however the process ends.
pub fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("monitor.lock");
    let unusable = |error: io::Error| refused!("{} cannot be used: {error}.", path.display());
    fs::create_dir_all(folder).map_err(unusable)?;
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    // Who may open it could lock it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_again_when_its_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new").join("data");
        let first = lock(&data).unwrap();
        assert!(first.is_some());
        assert!(lock(&data).unwrap().is_none());
        drop(first);
        assert!(lock(&data).unwrap().is_some());
    }
}
