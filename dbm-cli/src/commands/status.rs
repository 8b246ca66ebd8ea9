//! `dbm status`: the version of the schema, and what the file takes.

use std::fmt;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Report;
use crate::error::Error;
use crate::file::{self, AnyStore};

#[derive(Debug, Serialize)]
struct Status {
    file: PathBuf,
    version: String,
    bytes: u64,
    log_bytes: u64,
    #[serde(flatten)]
    pages: Pages,
    tables: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pages {
    page_bytes: u64,
    pages: u64,
    free_pages: u64,
}

impl AnyStore {
    #[database_safe]
    async fn pages(&self, db: &mut ReadTransaction) -> Result<Pages> {
        let sql =
            "SELECT page_size AS page_bytes, page_count AS pages, freelist_count AS free_pages
                   FROM pragma_page_size, pragma_page_count, pragma_freelist_count";
        db.query_one(sql, ()).await
    }

    /// The program's own tables.
    #[database_safe]
    async fn tables(&self, db: &mut ReadTransaction) -> Result<u64> {
        let sql = r"SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name <> 'Version'
                    AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_dbm\_%' ESCAPE '\'";
        db.query_one(sql, ()).await
    }
}

pub(crate) async fn run(file: &Path) -> Result<Report, Error> {
    let (store, version) = file::open(file).await?;
    let status = Status {
        file: store.path().unwrap_or(file).to_owned(),
        version: version.to_string(),
        // Without its log: what is in there is copied into the file later.
        bytes: length(file),
        log_bytes: length(&log_of(file)),
        pages: store.pages().await?,
        tables: store.tables().await?,
    };
    store.close().await?;
    Report::new(&status, false)
}

/// The log is beside the file itself, not beside a link to it.
fn log_of(file: &Path) -> PathBuf {
    let mut log = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    log.as_mut_os_string().push("-wal");
    log
}

/// 0 for a file that is not there.
fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pages {
            page_bytes,
            pages,
            free_pages,
        } = self.pages;
        writeln!(f, "file     {}", self.file.display())?;
        writeln!(f, "version  {}", self.version)?;
        writeln!(f, "size     {} bytes", self.bytes)?;
        writeln!(f, "log      {} bytes", self.log_bytes)?;
        writeln!(
            f,
            "pages    {pages} of {page_bytes} bytes, {free_pages} free"
        )?;
        writeln!(f, "tables   {}", self.tables)
    }
}
