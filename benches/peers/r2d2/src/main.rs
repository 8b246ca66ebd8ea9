//! r2d2 and `spawn_blocking`, what one writes by hand.

use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, TransactionBehavior};

const CONNECTIONS: u32 = 4;

struct R2d2(r2d2::Pool<SqliteConnectionManager>);

impl R2d2 {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let pool = self.0.clone();
        tokio::task::spawn_blocking(move || Ok(job(&mut *pool.get()?)?)).await?
    }
}

impl Peer for R2d2 {
    async fn open(job: &Job) -> Result<Self> {
        let (path, pragmas) = (job.path.clone(), job.pragmas());
        let open = move || {
            let manager = SqliteConnectionManager::file(path)
                .with_init(move |connection| connection.execute_batch(&pragmas));
            r2d2::Pool::builder().max_size(CONNECTIONS).build(manager)
        };
        Ok(Self(tokio::task::spawn_blocking(open).await??))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        self.run(move |connection| {
            connection
                .prepare_cached(SELECT)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        self.run(move |connection| {
            connection
                .prepare_cached(INSERT)?
                .execute((name, score))
                .map(drop)
        })
        .await
    }

    async fn increment(&self) -> Result<()> {
        self.run(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let n: i64 = transaction
                .prepare_cached(READ_COUNTER)?
                .query_row([], |row| row.get(0))?;
            transaction
                .prepare_cached(WRITE_COUNTER)?
                .execute([n + 1])?;
            transaction.commit()
        })
        .await
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<R2d2>()
}
