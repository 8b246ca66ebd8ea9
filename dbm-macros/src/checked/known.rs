//! The folders of the package that is being compiled, each with its schema in a database, kept between two macros.
//!
//! One process of an editor compiles many packages, for hours: what is kept is keyed by the package, and thrown away when
//! a file is another one.

use super::database::Database;
use crate::schema::{self, Folder, ROOT};
use crate::version::Version;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static PACKAGES: Mutex<Vec<(PathBuf, Vec<Known>)>> = Mutex::new(Vec::new());

/// A folder, and what its files make up to each version that was asked for; none if they cannot be run.
pub(super) struct Known {
    pub(super) folder: Folder,
    databases: BTreeMap<Version, Option<Database>>,
}

impl Known {
    /// The schema after the newest file.
    pub(super) fn newest(&mut self) -> Option<&mut Database> {
        let version = self.folder.newest()?;
        self.at(version)
    }

    /// The schema after the file of a version.
    pub(super) fn at(&mut self, version: Version) -> Option<&mut Database> {
        let folder = &self.folder;
        let database = self
            .databases
            .entry(version)
            .or_insert_with(|| make(folder, version));
        database.as_mut()
    }
}

/// Does something with every folder of the package that can be read.
pub(super) fn with<T>(work: impl FnOnce(&mut [Known]) -> T) -> Option<T> {
    let package = schema::package().ok()?;
    let folders = read(&package);
    let mut packages = PACKAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let place = packages.iter().position(|(known, _)| *known == package);
    let place = place.unwrap_or_else(|| {
        packages.push((package, Vec::new()));
        packages.len() - 1
    });
    let known = &mut packages[place].1;
    known.retain(|known| folders.contains(&known.folder));
    for folder in folders {
        if !known.iter().any(|known| known.folder == folder) {
            known.push(Known {
                folder,
                databases: BTreeMap::new(),
            });
        }
    }
    known.sort_by(|a, b| a.folder.path.cmp(&b.folder.path));
    Some(work(known))
}

/// `schema/` and the folders in it. What cannot be read is said where a manager names it.
fn read(package: &Path) -> Vec<Folder> {
    let inside = fs::read_dir(package.join(ROOT))
        .into_iter()
        .flatten()
        .flatten();
    let inside = inside
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let paths = inside.map(|name| Folder::path(Some(&name)));
    std::iter::once(Folder::path(None))
        .chain(paths)
        .filter_map(|path| Folder::read(package, path).ok())
        .collect()
}

fn make(folder: &Folder, version: Version) -> Option<Database> {
    let mut database = Database::new().ok()?;
    for file in folder.files.iter().filter(|file| file.version <= version) {
        database.run_file(&file.sql).ok()?;
    }
    database.ready().ok()?;
    Some(database).filter(Database::is_sure)
}
