use dbm_core::prelude::*;

#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        db.execute("INSERT INTO user (name) VALUES (?1)", (name,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

async fn caller() -> Result<()> {
    let store = Store::create(Config::new("data")).await?;
    store.add("Ada").await?;
    store.count().await?;
    store.close().await
}

fn main() {}
