use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(mut self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

fn main() {}
