//! sqlx on PostgreSQL: a pool; statements are prepared once for each connection.

use bench_postgres::CONNECTIONS;
use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

struct Sqlx {
    pool: PgPool,
    select: String,
    insert: String,
    read_counter: String,
    write_counter: String,
}

impl Peer for Sqlx {
    async fn open(job: &Job) -> Result<Self> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&job.path)
            .username("tester")
            .database("bench");
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS.try_into()?)
            .connect_with(options)
            .await?;
        Ok(Self {
            pool,
            select: SELECT.replace('?', "$"),
            insert: INSERT.replace('?', "$"),
            // The row is locked, so that no increment is lost.
            read_counter: format!("{READ_COUNTER} FOR UPDATE"),
            write_counter: WRITE_COUNTER.replace('?', "$"),
        })
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let statement = AssertSqlSafe(self.select.as_str());
        Ok(sqlx::query_as(statement)
            .bind(id)
            .fetch_one(&self.pool)
            .await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let statement = AssertSqlSafe(self.insert.as_str());
        sqlx::query(statement)
            .bind(name)
            .bind(score)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn increment(&self) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        let statement = AssertSqlSafe(self.read_counter.as_str());
        let n: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut *transaction)
            .await?;
        let statement = AssertSqlSafe(self.write_counter.as_str());
        sqlx::query(statement)
            .bind(n + 1)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn close(self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Sqlx>()
}
