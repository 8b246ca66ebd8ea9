//! Looking at a manager from outside: its directory, its descriptors, its futures.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::task::Poll;

/// Names of everything in a directory, in order.
#[must_use]
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file in a directory, with a mark that is another one when its bytes are others.
#[must_use]
pub fn bytes(directory: &Path) -> BTreeMap<String, u64> {
    let hash = |name: &String| {
        let mut hasher = DefaultHasher::new();
        fs::read(directory.join(name)).unwrap().hash(&mut hasher);
        hasher.finish()
    };
    names(directory)
        .into_iter()
        .map(|name| (name.clone(), hash(&name)))
        .collect()
}

/// Polls a future once; whether it waits.
pub async fn waits<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Says that a test cannot be run here, where it is seen even when tests pass.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// A file or directory that cannot be written to until this is dropped.
#[derive(Debug)]
pub struct ReadOnly {
    path: PathBuf,
    mode: fs::Permissions,
}

impl ReadOnly {
    /// Permission bits do not bind root, so there the attribute "immutable" is set, where file system and container
    /// allow it; `None` where nothing helps.
    #[must_use]
    pub fn make(path: &Path) -> Option<Self> {
        let mode = fs::metadata(path).unwrap().permissions();
        let mut read_only = mode.clone();
        read_only.set_readonly(true);
        fs::set_permissions(path, read_only).unwrap();
        let made = Self {
            path: path.to_owned(),
            mode,
        };
        if made.is_writable() {
            let _ = Command::new("chattr").arg("+i").arg(path).output();
        }
        (!made.is_writable()).then_some(made)
    }

    fn is_writable(&self) -> bool {
        if self.path.is_dir() {
            let probe = self.path.join("probe");
            return fs::File::create(&probe)
                .and_then(|_| fs::remove_file(&probe))
                .is_ok();
        }
        OpenOptions::new().append(true).open(&self.path).is_ok()
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.path).output();
        let _ = fs::set_permissions(&self.path, self.mode.clone());
    }
}
