//! `dbm restore`: puts a backup in the place of a database.

use std::fmt;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use serde::Serialize;

use crate::Report;
use crate::error::Error;
use crate::file;

#[derive(Debug, Serialize)]
struct Restore {
    file: PathBuf,
    version: String,
    replaced: Option<PathBuf>,
}

pub(crate) async fn run(file: &Path, backup: &Path, at_most: &Version) -> Result<Report, Error> {
    let config = file::config(file)?;
    let restored = dbm_core::restore(backup, config, at_most.clone()).await?;
    let restore = Restore {
        file: restored.database,
        version: restored.version.to_string(),
        replaced: restored.replaced,
    };
    Report::new(&restore, false)
}

impl fmt::Display for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} has version {} now",
            self.file.display(),
            self.version
        )?;
        match &self.replaced {
            Some(replaced) => write!(f, "the file that was there is {}", replaced.display()),
            None => Ok(()),
        }
    }
}
