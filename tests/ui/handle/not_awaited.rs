use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn clear(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM user", ())?;
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.clear().await
}

fn main() {}
