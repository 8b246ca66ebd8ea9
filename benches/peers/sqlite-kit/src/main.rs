//! sqlite-kit: a pool of readers and one writer on a thread of its own.

use harness::{Durability, INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use sqlite_kit::{DatabasePool, PoolConfig, SynchronousMode};

struct SqliteKit(DatabasePool);

impl Peer for SqliteKit {
    async fn open(job: &Job) -> Result<Self> {
        let mut config = PoolConfig::default();
        config.synchronous = match job.durability {
            Durability::Normal => SynchronousMode::Normal,
            Durability::Full => SynchronousMode::Full,
        };
        Ok(Self(DatabasePool::open(&job.path, config).await?))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let read = self.0.read(move |connection| {
            connection
                .prepare_cached(SELECT)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        });
        Ok(read.await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let insert = self.0.write(move |connection| {
            connection
                .prepare_cached(INSERT)?
                .execute((name, score))
                .map(drop)
        });
        Ok(insert.await?)
    }

    async fn increment(&self) -> Result<()> {
        let increment = self.0.transaction(|transaction| {
            let n: i64 = transaction
                .prepare_cached(READ_COUNTER)?
                .query_row([], |row| row.get(0))?;
            transaction
                .prepare_cached(WRITE_COUNTER)?
                .execute([n + 1])
                .map(drop)
        });
        Ok(increment.await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

fn main() -> Result<()> {
    harness::worker::<SqliteKit>()
}
