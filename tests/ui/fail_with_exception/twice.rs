use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_with_exception]
    #[fail_with_exception]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<u64>> {
        db.query_optional("SELECT ?1", (id,)).await
    }
}

async fn caller(store: &Store) {
    let _: Result<Option<u64>> = store.user(1).await;
}

fn main() {}
