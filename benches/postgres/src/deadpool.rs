//! tokio-postgres with deadpool as a peer: a pool, and statements prepared once for each connection.

use deadpool_postgres::{Manager, Pool};
use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::{CONNECTIONS, description};

/// It locks the row that it increments, or what it does is serializable and it tries again.
pub struct Deadpool<const SERIALIZABLE: bool> {
    pool: Pool,
    select: String,
    insert: String,
    read_counter: String,
    write_counter: String,
}

impl<const SERIALIZABLE: bool> Peer for Deadpool<SERIALIZABLE> {
    async fn open(job: &Job) -> Result<Self> {
        let mut server: Config = description(&job.path).parse()?;
        let lock = if SERIALIZABLE {
            server.options("-c default_transaction_isolation=serializable");
            ""
        } else {
            // No increment is lost.
            " FOR UPDATE"
        };
        let manager = Manager::new(server, NoTls);
        Ok(Self {
            pool: Pool::builder(manager).max_size(CONNECTIONS).build()?,
            select: SELECT.replace('?', "$"),
            insert: INSERT.replace('?', "$"),
            read_counter: format!("{READ_COUNTER}{lock}"),
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
        loop {
            match self.insert_once(name, score).await {
                Err(error) if has_lost(&*error) => {}
                outcome => return outcome,
            }
        }
    }

    async fn increment(&self) -> Result<()> {
        loop {
            match self.increment_once().await {
                Err(error) if has_lost(&*error) => {}
                outcome => return outcome,
            }
        }
    }

    async fn close(self) -> Result<()> {
        self.pool.close();
        Ok(())
    }
}

impl<const SERIALIZABLE: bool> Deadpool<SERIALIZABLE> {
    async fn insert_once(&self, name: &'static str, score: i64) -> Result<()> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(&self.insert).await?;
        client.execute(&statement, &[&name, &score]).await?;
        Ok(())
    }

    async fn increment_once(&self) -> Result<()> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let statement = transaction.prepare_cached(&self.read_counter).await?;
        let n: i64 = transaction.query_one(&statement, &[]).await?.try_get(0)?;
        let statement = transaction.prepare_cached(&self.write_counter).await?;
        transaction.execute(&statement, &[&(n + 1)]).await?;
        Ok(transaction.commit().await?)
    }
}

/// Whether another transaction was in the way of this one.
fn has_lost(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}
