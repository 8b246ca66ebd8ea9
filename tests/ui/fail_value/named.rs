use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_value(value = 0)]
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

async fn caller(store: &Store) {
    let _: u64 = store.user().await;
}

fn main() {}
