use dbm_core::prelude::*;

dbm_tests::manager!(Store);

trait Users {
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64>;
}

impl Users for Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

fn main() {}
