use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        let id = db.query_one("INSERT INTO user (name) VALUES (?1) RETURNING id", (name,)).await?;
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.add("Ada").await
}

fn main() {}
