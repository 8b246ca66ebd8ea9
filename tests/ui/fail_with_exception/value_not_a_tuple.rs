use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_with_exception]
    #[fail_value(Vec::new())]
    async fn ids(&self, db: &mut ReadTransaction) -> Result<Vec<u64>> {
        db.query("SELECT 1", ()).await
    }
}

async fn caller(store: &Store) {
    let _: Vec<u64> = store.ids().await;
}

fn main() {}
