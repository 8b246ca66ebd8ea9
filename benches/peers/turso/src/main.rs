//! turso: SQLite's file format written anew in Rust. It brings no pool.

use std::time::Duration;

use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, Slots, WRITE_COUNTER};
use turso::transaction::TransactionBehavior;
use turso::{Builder, Database, Statement};

const CONNECTIONS: usize = 4;

struct Connection {
    connection: turso::Connection,
    select: Statement,
    insert: Statement,
    read_counter: Statement,
    write_counter: Statement,
}

impl Connection {
    async fn open(database: &Database, job: &Job) -> Result<Self> {
        let connection = database.connect()?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection
            .pragma_update("synchronous", job.durability)
            .await?;
        connection.pragma_update("foreign_keys", "ON").await?;
        Ok(Self {
            select: connection.prepare(SELECT).await?,
            insert: connection.prepare(INSERT).await?,
            read_counter: connection.prepare(READ_COUNTER).await?,
            write_counter: connection.prepare(WRITE_COUNTER).await?,
            connection,
        })
    }
}

struct Turso(Slots<Connection>);

impl Peer for Turso {
    async fn open(job: &Job) -> Result<Self> {
        let database = Builder::new_local(job.path.to_str().ok_or("the path is no text")?)
            .build()
            .await?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS.min(job.tasks) {
            connections.push(Connection::open(&database, job).await?);
        }
        Ok(Self(Slots::new(connections)))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let row = self.0.take().await?.select.query_row([id]).await?;
        Ok((row.get(0)?, row.get(1)?))
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        self.0.take().await?.insert.execute((name, score)).await?;
        Ok(())
    }

    async fn increment(&self) -> Result<()> {
        let mut slot = self.0.take().await?;
        let Connection {
            connection,
            read_counter,
            write_counter,
            ..
        } = &mut *slot;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .await?;
        let n: i64 = read_counter.query_row(()).await?.get(0)?;
        write_counter.execute([n + 1]).await?;
        Ok(transaction.commit().await?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Turso>()
}
