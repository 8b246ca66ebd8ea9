use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, db: u64) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.user(1).await;
}

fn main() {}
