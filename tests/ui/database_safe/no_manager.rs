use dbm_core::prelude::*;

struct Store;

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT 1", ()).await
    }
}

fn main() {}
