use dbm_core::prelude::*;

dbm_tests::manager!(Store);

use dbm_core::fail_value as otherwise;

impl Store {
    #[database_safe]
    #[otherwise(None)]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<u64>> {
        db.query_optional("SELECT ?1", (id,)).await
    }
}

async fn caller(store: &Store) {
    let _: Option<u64> = store.user(1).await;
}

fn main() {}
