use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct User;

impl Store {
    #[database_safe]
    #[fail_value(User)]
    async fn user(&self, _db: &mut ReadTransaction) -> User {
        User
    }
}

fn main() {}
