use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(db: &mut ReadTransaction, id: u64) -> Result<u64> {
        db.query_one("SELECT ?1", (id,)).await
    }
}

async fn caller(store: &Store) {
    let _: (&Store, Result<u64>) = (store, Store::user(1).await);
}

fn main() {}
