use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Result;

use crate::peers::{self, RAW};
use crate::samples::printed_by;

/// Where the databases are: on the disk of the target directory, for a temporary directory may be in memory.
pub(crate) struct Scratch {
    /// Databases to copy from, kept from run to run.
    templates: PathBuf,
    /// What this run measures on; another one may be running.
    own: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let templates = peers::target()?.join("bench-data");
        let own = templates.join(std::process::id().to_string());
        fs::create_dir_all(&own)?;
        Ok(Self { templates, own })
    }

    pub(crate) fn own(&self) -> &Path {
        &self.own
    }

    /// Makes the database of so many rows, once.
    pub(crate) fn seed(&self, rows: u64) -> Result<PathBuf> {
        let template = self.templates.join(format!("{rows}.db"));
        if !template.exists() {
            let unfinished = self.own.join("unfinished.db");
            printed_by(
                Command::new(peers::program(RAW)?)
                    .arg("seed")
                    .arg(&unfinished)
                    .arg(rows.to_string()),
            )?;
            fs::rename(unfinished, &template)?;
        }
        Ok(template)
    }

    /// A new database in a new directory, already on the disk, so that no write-back of it disturbs the measurement.
    pub(crate) fn fresh_copy(&self, rows: u64) -> Result<PathBuf> {
        let template = self.seed(rows)?;
        let place = self.own.join("measured");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        let path = place.join("database.db");
        fs::copy(template, &path)?;
        File::open(&path)?.sync_all()?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is in the target directory anyway.
        let _ = fs::remove_dir_all(&self.own);
    }
}
