use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    async fn rename(&self, db: &mut WriteTransaction, id: u64, name: &str) -> Result<()> {
        db.execute("UPDATE user SET name = ?2 WHERE id = ?1", (id, name)).await?;
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.rename(1, "Ada").await
}

fn main() {}
