//! tokio-rusqlite: one connection on a thread of its own, closures sent to it.

use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use rusqlite::TransactionBehavior;
use tokio_rusqlite::Connection;

struct TokioRusqlite(Connection);

impl Peer for TokioRusqlite {
    async fn open(job: &Job) -> Result<Self> {
        let connection = Connection::open(&job.path).await?;
        let pragmas = job.pragmas();
        connection
            .call(move |connection| connection.execute_batch(&pragmas))
            .await?;
        Ok(Self(connection))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let read = move |connection: &mut rusqlite::Connection| {
            connection
                .prepare_cached(SELECT)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        Ok(self.0.call(read).await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let insert = move |connection: &mut rusqlite::Connection| {
            connection
                .prepare_cached(INSERT)?
                .execute((name, score))
                .map(drop)
        };
        Ok(self.0.call(insert).await?)
    }

    async fn increment(&self) -> Result<()> {
        let increment = |connection: &mut rusqlite::Connection| {
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
        Ok(self.0.call(increment).await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

fn main() -> Result<()> {
    harness::worker::<TokioRusqlite>()
}
