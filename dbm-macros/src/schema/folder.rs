//! A folder of files, each named after the version that it leads to.

use super::ROOT;
use crate::version::Version;
use crate::wording;
use std::path::Path;
use std::{fs, io};

/// The files of one manager, the oldest first; there is at least one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// As seen from the package, such as `schema/cache`.
    pub(crate) path: String,
    pub(crate) files: Vec<File>,
    /// The same steps for PostgreSQL, if there is a folder of them.
    pub(crate) postgres: Vec<File>,
}

/// Beside the files is the folder of those for PostgreSQL.
const POSTGRES: &str = "postgres";

/// What leads to one version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) version: Version,
    /// As seen from the package, such as `schema/1.0.0.sql`.
    pub(crate) path: String,
    pub(crate) sql: String,
}

impl Folder {
    /// Where the files of a manager are, by the name it gives: none is `schema` itself.
    pub(crate) fn path(name: Option<&str>) -> String {
        match name {
            Some(name) => format!("{ROOT}/{name}"),
            None => ROOT.to_owned(),
        }
    }

    /// Reads a folder of this package, or says what is wrong with it.
    pub(crate) fn read(package: &Path, path: String) -> Result<Self, String> {
        let files = read_files(package, &path)?;
        if files.is_empty() {
            return Err(wording::folder_empty(&path));
        }
        let elsewhere = format!("{path}/{POSTGRES}");
        let postgres = if package.join(&elsewhere).is_dir() {
            read_files(package, &elsewhere)?
        } else {
            Vec::new()
        };
        if !postgres.is_empty() {
            same_versions(&files, &postgres, &elsewhere)?;
            same_versions(&postgres, &files, &path)?;
        }
        Ok(Self {
            path,
            files,
            postgres,
        })
    }

    pub(crate) fn newest(&self) -> Option<Version> {
        self.files.last().map(|file| file.version)
    }
}

/// Fails if a version of `files` has no file in the folder of `others`.
fn same_versions(files: &[File], others: &[File], folder: &str) -> Result<(), String> {
    let is_missing = |file: &&File| others.iter().all(|other| other.version != file.version);
    match files.iter().find(is_missing) {
        Some(file) => Err(wording::step_missing(folder, &file.path, file.version)),
        None => Ok(()),
    }
}

fn read_files(package: &Path, path: &str) -> Result<Vec<File>, String> {
    let unreadable = |error: io::Error| wording::folder_unreadable(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(package.join(path)).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_step = Path::new(&*name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("sql"));
        // An editor's own file begins with a dot.
        if is_step && !name.starts_with('.') {
            files.push(File::read(&entry.path(), format!("{path}/{name}"), &name)?);
        }
    }
    files.sort_by_key(|file| file.version);
    Ok(files)
}

impl File {
    fn read(file: &Path, path: String, name: &str) -> Result<Self, String> {
        let version = name.strip_suffix(".sql").and_then(Version::parse);
        let version = version.ok_or_else(|| wording::file_name(&path))?;
        let bytes = fs::read(file).map_err(|error| wording::file_unreadable(&path, &error))?;
        let sql = String::from_utf8(bytes).map_err(|_| wording::file_not_text(&path))?;
        // SQLite would take the file for ended there.
        if let Some(nul) = sql.find('\0') {
            return Err(wording::file_with_nul(&path, &sql[..nul]));
        }
        Ok(Self { version, path, sql })
    }
}
