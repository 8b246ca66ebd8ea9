use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, id: u64, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT ?1", (id,)).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.user(1).await;
}

fn main() {}
