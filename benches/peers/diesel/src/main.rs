//! diesel with its r2d2 pool and `spawn_blocking`.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error, Pool};
use harness::{Item, Job, Peer, Result};

const CONNECTIONS: u32 = 4;

diesel::table! {
    item (id) {
        id -> BigInt,
        name -> Text,
        score -> BigInt,
    }
}

diesel::table! {
    counter (id) {
        id -> BigInt,
        n -> BigInt,
    }
}

#[derive(Debug)]
struct Pragmas(String);

impl CustomizeConnection<SqliteConnection, Error> for Pragmas {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        connection.batch_execute(&self.0).map_err(Error::QueryError)
    }
}

struct Diesel(Pool<ConnectionManager<SqliteConnection>>);

impl Diesel {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T> {
        let pool = self.0.clone();
        tokio::task::spawn_blocking(move || Ok(job(&mut *pool.get()?)?)).await?
    }
}

impl Peer for Diesel {
    async fn open(job: &Job) -> Result<Self> {
        let manager = ConnectionManager::new(job.path.to_str().ok_or("the path is no text")?);
        let pragmas = Box::new(Pragmas(job.pragmas()));
        let open = move || {
            Pool::builder()
                .max_size(CONNECTIONS)
                .connection_customizer(pragmas)
                .build(manager)
        };
        Ok(Self(tokio::task::spawn_blocking(open).await??))
    }

    async fn read(&self, id: i64) -> Result<Item> {
        self.run(move |connection| {
            item::table
                .find(id)
                .select((item::name, item::score))
                .first(connection)
        })
        .await
    }

    async fn insert(&self, name: &'static str, score: i64) -> Result<()> {
        self.run(move |connection| {
            let values = (item::name.eq(name), item::score.eq(score));
            diesel::insert_into(item::table)
                .values(values)
                .execute(connection)
                .map(drop)
        })
        .await
    }

    async fn increment(&self) -> Result<()> {
        self.run(|connection| {
            connection.immediate_transaction(|connection| {
                let n: i64 = counter::table
                    .find(1)
                    .select(counter::n)
                    .first(connection)?;
                diesel::update(counter::table.find(1))
                    .set(counter::n.eq(n + 1))
                    .execute(connection)
                    .map(drop)
            })
        })
        .await
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    harness::worker::<Diesel>()
}
