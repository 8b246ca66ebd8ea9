//! What live reads cost who writes: inserts beside so many of them, for callgrind to count the instructions of the first thread.
//!
//! `live <directory> <live reads> <same | other> <inserts>`: they read the table that is written, or another one.

use std::path::Path;

use dbm_core::prelude::*;
use dbm_core::{Execution, Live};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, data TEXT NOT NULL) STRICT;
             CREATE TABLE other (id INTEGER PRIMARY KEY) STRICT",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item (data) VALUES ('x')", ())
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn items(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM item", ()).await
    }

    #[database_safe]
    async fn others(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM other", ()).await
    }
}

async fn run(directory: &Path, reads: usize, same: bool, inserts: u32) -> Result<()> {
    let config = Config::new(directory)
        .durability(Durability::Normal)
        .execution(Execution::Inline);
    let store = Store::create(config).await?;
    let mut live: Vec<Live<Result<u64>>> = Vec::new();
    for _ in 0..reads {
        let mut read = store.live(move |store| async move {
            if same {
                store.items().await
            } else {
                store.others().await
            }
        });
        read.next().await.transpose()?;
        live.push(read);
    }
    for _ in 0..inserts {
        store.insert().await?;
    }
    drop(live);
    store.close().await
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, reads, which, inserts] = &arguments[..] else {
        return Err(Error::other(
            "live <directory> <live reads> <same | other> <inserts>",
        ));
    };
    let number = |text: &str| text.parse::<u32>().map_err(Error::other);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(Error::other)?;
    let work = run(
        Path::new(directory),
        number(reads)? as usize,
        which == "same",
        number(inserts)?,
    );
    runtime.block_on(work)
}
