use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    const fn user(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.user().await;
}

fn main() {}
