//! libsql on a local file: SQLite called on the runtime's own workers. It brings no pool.

use std::time::Duration;

use harness::{INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, Slots, WRITE_COUNTER};
use libsql::{Builder, Database, Statement, TransactionBehavior};

const CONNECTIONS: usize = 4;

struct Connection {
    connection: libsql::Connection,
    select: Statement,
    insert: Statement,
    read_counter: Statement,
    write_counter: Statement,
}

impl Connection {
    async fn open(database: &Database, pragmas: &str) -> Result<Self> {
        let connection = database.connect()?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(pragmas).await?;
        Ok(Self {
            select: connection.prepare(SELECT).await?,
            insert: connection.prepare(INSERT).await?,
            read_counter: connection.prepare(READ_COUNTER).await?,
            write_counter: connection.prepare(WRITE_COUNTER).await?,
            connection,
        })
    }
}

struct Libsql(Slots<Connection>);

impl Peer for Libsql {
    async fn open(job: &Job) -> Result<Self> {
        let database = Builder::new_local(&job.path).build().await?;
        let pragmas = job.pragmas();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS.min(job.tasks) {
            connections.push(Connection::open(&database, &pragmas).await?);
        }
        Ok(Self(Slots::new(connections)))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        let mut connection = self.0.take().await?;
        let row = connection.select.query_row([id]).await?;
        let item = (row.get(0)?, row.get(1)?);
        drop(row);
        connection.select.reset();
        Ok(item)
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        let connection = self.0.take().await?;
        let result = connection.insert.execute((name, score)).await;
        connection.insert.reset();
        result?;
        Ok(())
    }

    async fn increment(&self) -> Result<()> {
        let mut connection = self.0.take().await?;
        let transaction = connection
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .await?;
        let n: i64 = connection.read_counter.query_row(()).await?.get(0)?;
        connection.read_counter.reset();
        connection.write_counter.execute([n + 1]).await?;
        connection.write_counter.reset();
        Ok(transaction.commit().await?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Libsql>()
}
