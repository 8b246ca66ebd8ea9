use dbm_core::prelude::*;

dbm_tests::manager!(Store);

trait Users {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<u64>;
}

async fn caller(users: &impl Users) {
    let _: Result<u64> = users.user(1).await;
}

fn main() {}
