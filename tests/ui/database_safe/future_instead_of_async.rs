use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    fn user(&self, db: &mut ReadTransaction) -> impl Future<Output = Result<u64>> + Send {
        async move { db.query_one("SELECT 1", ()).await }
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.user().await;
}

fn main() {}
