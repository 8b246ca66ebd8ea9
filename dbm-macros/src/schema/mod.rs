//! The schema as files in the crate, which are also the steps of its migrations.

mod expand;
mod folder;

pub(crate) use expand::{impl_schema, unreadable};
pub(crate) use folder::Folder;

use crate::wording;
use std::env;
use std::path::PathBuf;

/// Where the files of every manager are; a folder in it belongs to the manager that names it.
pub(crate) const ROOT: &str = "schema";

/// The folder of the package that is being compiled.
pub(crate) fn package() -> Result<PathBuf, String> {
    env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| wording::NO_PACKAGE.to_owned())
}
