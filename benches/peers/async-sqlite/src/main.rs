//! async-sqlite: a pool of connections, each on a thread of its own, closures sent to them in turn.

use async_sqlite::rusqlite::{Connection, TransactionBehavior};
use async_sqlite::{Pool, PoolBuilder};
use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};

struct AsyncSqlite(Pool);

impl Peer for AsyncSqlite {
    async fn open(job: &Job) -> Result<Self> {
        let pool = PoolBuilder::new().path(&job.path).open().await?;
        let pragmas = job.pragmas();
        for result in pool
            .conn_for_each(move |connection| connection.execute_batch(&pragmas))
            .await
        {
            result?;
        }
        Ok(Self(pool))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let read = move |connection: &Connection| {
            connection
                .prepare_cached(SELECT)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        Ok(self.0.conn(read).await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let insert = move |connection: &Connection| {
            connection
                .prepare_cached(INSERT)?
                .execute((name, score))
                .map(drop)
        };
        Ok(self.0.conn(insert).await?)
    }

    async fn increment(&self) -> Result<()> {
        let increment = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let n: i64 = transaction
                .prepare_cached(READ_COUNTER)?
                .query_row([], |row| row.get(0))?;
            transaction
                .prepare_cached(WRITE_COUNTER)?
                .execute([n + 1])?;
            transaction.commit()
        };
        Ok(self.0.conn_mut(increment).await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

fn main() -> Result<()> {
    harness::worker::<AsyncSqlite>()
}
