use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store<'a> {
    core: ManagerCore,
    name: &'a str,
}

impl Schema for Store<'_> {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl Store<'_> {
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
    let store = Store::create_with(Config::new("data"), |core| Store { core, name: "main" }).await?;
    store.add("Ada").await?;
    store.count().await?;
    store.close().await
}

fn main() {}
