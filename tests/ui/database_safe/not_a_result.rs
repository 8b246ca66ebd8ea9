use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Option<u64> {
        db.query_optional("SELECT 1", ()).await
    }
}

async fn caller(store: &Store) {
    let _: Option<u64> = store.user().await;
}

fn main() {}
