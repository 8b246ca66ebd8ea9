//! `dbm check`: the findings of `DbManager::verify`.

use std::fmt;
use std::path::{Path, PathBuf};

use dbm_core::Verification;
use dbm_core::prelude::*;
use serde::Serialize;

use crate::Report;
use crate::error::Error;
use crate::file;

#[derive(Debug, Serialize)]
struct Check {
    file: PathBuf,
    version: String,
    sound: bool,
    integrity: Vec<String>,
    foreign_keys: Vec<ForeignKey>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct ForeignKey {
    child: String,
    columns: Vec<String>,
    parent: String,
    rows: u64,
    unusable: Option<&'static str>,
}

pub(crate) async fn run(file: &Path) -> Result<Report, Error> {
    let (store, version) = file::open(file).await?;
    let found = store.verify().await?;
    store.close().await?;
    let check = Check::new(file.to_owned(), &version, found);
    Report::new(&check, !check.sound)
}

impl Check {
    fn new(file: PathBuf, version: &Version, found: Verification) -> Self {
        Self {
            file,
            version: version.to_string(),
            sound: found.is_sound(),
            text: found.to_string(),
            integrity: found.integrity,
            foreign_keys: found
                .foreign_keys
                .into_iter()
                .map(|fault| ForeignKey {
                    child: fault.child,
                    columns: fault.columns,
                    parent: fault.parent,
                    rows: fault.rows,
                    unusable: fault.unusable,
                })
                .collect(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
