//! `dbm backup`: copies a database while others use it.

use std::fmt;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use serde::Serialize;

use crate::Report;
use crate::error::Error;
use crate::file;

#[derive(Debug, Serialize)]
struct Backup {
    file: PathBuf,
    version: String,
    backup: PathBuf,
}

pub(crate) async fn run(file: &Path, to: &Path) -> Result<Report, Error> {
    let (store, version) = file::open(file).await?;
    store.back_up(to).await?;
    store.close().await?;
    let backup = Backup {
        file: file.to_owned(),
        version: version.to_string(),
        backup: to.to_owned(),
    };
    Report::new(&backup, false)
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, .. } = self;
        write!(f, "copied version {version} to {}", self.backup.display())
    }
}
