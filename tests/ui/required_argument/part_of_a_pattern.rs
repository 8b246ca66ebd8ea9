use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[required_argument(id)]
    async fn find(&self, db: &mut ReadTransaction, (id, _): (Option<u64>, u8)) -> Result<u64> {
        db.query_one("SELECT ?1", (id,)).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.find((None, 0)).await;
}

fn main() {}
