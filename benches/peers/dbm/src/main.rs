//! dbm, with annotated methods as its README shows them.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Durability, Execution, SchemaDrift};
use harness::{INSERT, Item, Job, Limit, Peer, READ_COUNTER, SELECT, SELECT_ALL, WRITE_COUNTER};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, _db: &mut WriteTransaction) -> Result<()> {
        Err(Error::other("the benchmark brings its own database"))
    }

    async fn migrate_db(
        &self,
        _db: &mut WriteTransaction,
        _current: &Version,
        _target: &Version,
    ) -> Result<bool> {
        Ok(false)
    }
}

impl Store {
    #[database_safe]
    async fn item(&self, db: &mut ReadTransaction, id: i64) -> Result<Item> {
        db.query_one(SELECT, (id,)).await
    }

    #[database_safe]
    async fn add_item(&self, db: &mut WriteTransaction, name: &str, score: i64) -> Result<()> {
        db.execute(INSERT, (name, score)).await?;
        Ok(())
    }

    #[database_safe]
    async fn increment_counter(&self, db: &mut WriteTransaction) -> Result<()> {
        let n: i64 = db.query_one(READ_COUNTER, ()).await?;
        db.execute(WRITE_COUNTER, (n + 1,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn items(&self, db: &mut ReadTransaction) -> Result<Vec<Item>> {
        db.query(SELECT_ALL, ()).await
    }

    #[database_safe]
    async fn many_items(&self, db: &mut ReadTransaction, count: i64) -> Result<()> {
        for id in 1..=count {
            let _: Item = db.query_one(SELECT, (id,)).await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn do_nothing(&self, _db: &mut ReadTransaction) -> Result<()> {
        Ok(())
    }
}

struct Dbm(Arc<Store>);

impl Peer for Dbm {
    async fn open(job: &Job) -> harness::Result<Self> {
        let directory = job.path.parent().ok_or("the database is in no directory")?;
        let config = Config::new(directory).durability(match job.durability {
            harness::Durability::Normal => Durability::Normal,
            harness::Durability::Full => Durability::Full,
        });
        let config = match job.limit {
            // Under a tool that counts instructions every statement seems slow and would be sent to a thread. The check
            // for drift comes half a second after the start: into some counts and not into others.
            Limit::Calls(_) => config
                .execution(Execution::Inline)
                .schema_drift(SchemaDrift::Ignore),
            Limit::Time(_) => config,
        };
        Ok(Self(Store::create(config).await?))
    }

    async fn read(&self, id: i64) -> harness::Result<Item> {
        Ok(self.0.item(id).await?)
    }

    async fn insert(&self, name: &'static str, score: i64) -> harness::Result<()> {
        Ok(self.0.add_item(name, score).await?)
    }

    async fn increment(&self) -> harness::Result<()> {
        Ok(self.0.increment_counter().await?)
    }

    async fn nothing(&self) -> harness::Result<()> {
        Ok(self.0.do_nothing().await?)
    }

    async fn rows(&self) -> harness::Result<usize> {
        Ok(self.0.items().await?.len())
    }

    async fn body(&self, statements: i64) -> harness::Result<()> {
        Ok(self.0.many_items(statements).await?)
    }

    async fn drop_waiting(&self, calls: usize, write: bool) -> harness::Result<Duration> {
        waiting::drop_waiting(&self.0, calls, write).await
    }

    async fn close(self) -> harness::Result<()> {
        Ok(self.0.close().await?)
    }
}

fn main() -> harness::Result<()> {
    harness::worker::<Dbm>()
}
