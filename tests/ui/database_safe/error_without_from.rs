use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct NotFound;

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64, NotFound> {
        let _ = db;
        Err(NotFound)
    }
}

async fn caller(store: &Store) {
    let _: Result<u64, NotFound> = store.user().await;
}

fn main() {}
