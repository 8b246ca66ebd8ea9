use std::time::SystemTime;

use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn note(&self, db: &mut WriteTransaction, at: SystemTime) -> Result<()> {
        db.execute("INSERT INTO note (at, text) VALUES (?1, ?2)", (at, "text")).await?;
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.note(SystemTime::now()).await
}

fn main() {}
