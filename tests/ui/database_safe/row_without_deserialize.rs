use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct User {
    id: u64,
}

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<User> {
        db.query_one("SELECT 1 AS id", ()).await
    }
}

async fn caller(store: &Store) -> Result<u64> {
    Ok(store.user().await?.id)
}

fn main() {}
