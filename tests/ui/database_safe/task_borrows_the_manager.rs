use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO user (name) VALUES ('Ada')", ()).await?;
        tokio::spawn(async move { self.tell().await });
        Ok(())
    }

    #[database_safe]
    async fn tell(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.add().await
}

fn main() {}
