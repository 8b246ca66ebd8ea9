//! dbm as a peer: one line says whether it is a file or a server.

pub mod deadpool;

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};
use harness::{INSERT, Item, Job, Peer, READ_COUNTER, SELECT, WRITE_COUNTER};

/// How many rows the schema makes.
pub const ROWS: u64 = 10_000;

/// As many as the peers have, and as dbm's default.
pub const CONNECTIONS: usize = 8;

/// The server whose socket is in this directory.
pub fn description(directory: &Path) -> String {
    format!("host={} user=tester dbname=bench", directory.display())
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema)]
struct Store {
    core: ManagerCore,
}

impl Store {
    #[database_safe]
    async fn item(&self, db: &mut ReadTransaction, id: i64) -> Result<Item> {
        db.query_one(SELECT, (id,)).await
    }

    #[database_safe]
    async fn add_item(&self, db: &mut WriteTransaction, name: &str, score: i64) -> Result<()> {
        db.execute(INSERT, (name, score)).await?;
        Ok(())
    }

    #[database_safe]
    async fn increment_counter(&self, db: &mut WriteTransaction) -> Result<()> {
        let n: i64 = db.query_one(READ_COUNTER, ()).await?;
        db.execute(WRITE_COUNTER, (n + 1,)).await?;
        Ok(())
    }
}

/// How the writers of a server take turns.
pub trait Way: Send + Sync + 'static {
    const WRITERS: Writers;
}

/// On a file, or on a server.
pub struct Dbm<W>(Arc<Store>, PhantomData<W>);

impl<W: Way> Peer for Dbm<W> {
    async fn open(job: &Job) -> harness::Result<Self> {
        let config = if job.path.join(".s.PGSQL.5432").exists() {
            Postgres::new(&description(&job.path))?
                .writers(W::WRITERS)
                .connections(CONNECTIONS)
                .into()
        } else {
            Config::new(&job.path)
        };
        Ok(Self(Store::create(config).await?, PhantomData))
    }

    async fn read(&self, id: i64) -> harness::Result<Item> {
        Ok(self.0.item(id).await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> harness::Result<()> {
        again(|| self.0.add_item(name, score)).await
    }

    async fn increment(&self) -> harness::Result<()> {
        again(|| self.0.increment_counter()).await
    }

    async fn close(self) -> harness::Result<()> {
        Ok(self.0.close().await?)
    }
}

/// Makes a call until it no longer loses to another one, as a program with `Writers::Serializable` does.
async fn again<T: Future<Output = Result<()>>>(call: impl Fn() -> T) -> harness::Result<()> {
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {}
            outcome => return Ok(outcome?),
        }
    }
}
