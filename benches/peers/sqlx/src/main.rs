//! sqlx: a pool of connections, each on a thread of its own.

use std::time::Duration;

use harness::{Durability, INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

const CONNECTIONS: u32 = 4;

struct Sqlx(SqlitePool);

impl Peer for Sqlx {
    async fn open(job: &Job) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(&job.path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match job.durability {
                Durability::Normal => SqliteSynchronous::Normal,
                Durability::Full => SqliteSynchronous::Full,
            })
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        Ok(Self(
            SqlitePoolOptions::new()
                .max_connections(CONNECTIONS)
                .connect_with(options)
                .await?,
        ))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        Ok(sqlx::query_as(SELECT).bind(id).fetch_one(&self.0).await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        sqlx::query(INSERT)
            .bind(name)
            .bind(score)
            .execute(&self.0)
            .await?;
        Ok(())
    }

    async fn increment(&self) -> Result<()> {
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let n: i64 = sqlx::query_scalar(READ_COUNTER)
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(WRITE_COUNTER)
            .bind(n + 1)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn close(self) -> Result<()> {
        self.0.close().await;
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Sqlx>()
}
