use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct UserId(u64);

impl Store {
    #[database_safe]
    #[required_argument(id)]
    async fn find(&self, db: &mut ReadTransaction, id: UserId) -> Result<u64> {
        db.query_one("SELECT ?1", (id.0,)).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.find(UserId(1)).await;
}

fn main() {}
