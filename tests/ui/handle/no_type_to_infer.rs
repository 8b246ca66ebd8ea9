use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn exists(&self, db: &mut ReadTransaction, id: u64) -> Result<bool> {
        Ok(db.query_optional("SELECT 1 FROM user WHERE id = ?1", (id,)).await?.is_some())
    }
}

async fn caller(store: &Store) -> Result<bool> {
    store.exists(1).await
}

fn main() {}
