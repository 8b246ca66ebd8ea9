//! tokio-postgres with deadpool: a pool, and statements prepared once for each connection.

use bench_postgres::{CONNECTIONS, description};
use deadpool_postgres::{Manager, Pool};
use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use tokio_postgres::NoTls;

struct Deadpool {
    pool: Pool,
    select: String,
    insert: String,
    read_counter: String,
    write_counter: String,
}

impl Peer for Deadpool {
    async fn open(job: &Job) -> Result<Self> {
        let manager = Manager::new(description(&job.path).parse()?, NoTls);
        Ok(Self {
            pool: Pool::builder(manager).max_size(CONNECTIONS).build()?,
            select: SELECT.replace('?', "$"),
            insert: INSERT.replace('?', "$"),
            // The row is locked, so that no increment is lost.
            read_counter: format!("{READ_COUNTER} FOR UPDATE"),
            write_counter: WRITE_COUNTER.replace('?', "$"),
        })
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(&self.select).await?;
        let row = client.query_one(&statement, &[&id]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(&self.insert).await?;
        client.execute(&statement, &[&name, &score]).await?;
        Ok(())
    }

    async fn increment(&self) -> Result<()> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let statement = transaction.prepare_cached(&self.read_counter).await?;
        let n: i64 = transaction.query_one(&statement, &[]).await?.try_get(0)?;
        let statement = transaction.prepare_cached(&self.write_counter).await?;
        transaction.execute(&statement, &[&(n + 1)]).await?;
        Ok(transaction.commit().await?)
    }

    async fn close(self) -> Result<()> {
        self.pool.close();
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Deadpool>()
}
