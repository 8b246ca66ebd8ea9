use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct User;

impl Store {
    #[database_safe]
    async fn user(&self, _db: &mut ReadTransaction) -> User {
        User
    }
}

async fn caller(store: &Store) {
    let _: User = store.user().await;
}

fn main() {}
