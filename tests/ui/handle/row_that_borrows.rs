use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn length(&self, db: &mut ReadTransaction, id: u64) -> Result<usize> {
        let name: &str = db.query_one("SELECT name FROM user WHERE id = ?1", (id,)).await?;
        Ok(name.len())
    }
}

async fn caller(store: &Store) -> Result<usize> {
    store.length(1).await
}

fn main() {}
