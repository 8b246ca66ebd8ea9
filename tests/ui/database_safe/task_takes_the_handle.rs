use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn clear(&self, db: &mut WriteTransaction) -> Result<()> {
        tokio::spawn(async move { db.execute("DELETE FROM user", ()).await });
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.clear().await
}

fn main() {}
