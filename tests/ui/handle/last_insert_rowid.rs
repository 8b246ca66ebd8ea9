use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        db.execute("INSERT INTO user (name) VALUES (?1)", (name,)).await?;
        db.last_insert_rowid().await
    }
}

async fn caller(store: &Store) -> Result<i64> {
    store.add("Ada").await
}

fn main() {}
