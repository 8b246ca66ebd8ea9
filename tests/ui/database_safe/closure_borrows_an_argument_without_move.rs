use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn exists(&self, db: &mut ReadTransaction, id: i64) -> Result<bool> {
        db.call(|connection| Ok(connection.prepare("SELECT 1 FROM user WHERE id = ?1")?.exists((id,))?)).await
    }
}

async fn caller(store: &Store) -> Result<bool> {
    store.exists(1).await
}

fn main() {}
