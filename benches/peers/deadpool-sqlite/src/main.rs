//! deadpool-sqlite: a pool of connections, closures run by `spawn_blocking`.

use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use harness::{BoxError, INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, WRITE_COUNTER};
use rusqlite::{Connection, TransactionBehavior};

const CONNECTIONS: usize = 4;

struct Deadpool(Pool);

impl Deadpool {
    async fn interact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self
            .0
            .get()
            .await?
            .interact(job)
            .await
            .map_err(|error| BoxError::from(error.to_string()))??)
    }
}

impl Peer for Deadpool {
    async fn open(job: &Job) -> Result<Self> {
        let pragmas = job.pragmas();
        let configure = Hook::async_fn(move |connection, _| {
            let pragmas = pragmas.clone();
            Box::pin(async move {
                connection
                    .interact(move |connection| connection.execute_batch(&pragmas))
                    .await
                    .map_err(|error| HookError::message(error.to_string()))?
                    .map_err(HookError::Backend)
            })
        });
        let pool = Config::new(&job.path)
            .builder(Runtime::Tokio1)?
            .max_size(CONNECTIONS)
            .post_create(configure);
        Ok(Self(pool.build()?))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        self.interact(move |connection| {
            connection
                .prepare_cached(SELECT)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        self.interact(move |connection| {
            connection
                .prepare_cached(INSERT)?
                .execute((name, score))
                .map(drop)
        })
        .await
    }

    async fn increment(&self) -> Result<()> {
        self.interact(|connection| {
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
        self.0.close();
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Deadpool>()
}
