use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<u64> {
        let id: u64 = db.query_one("SELECT 1", ()).await?;
        id
    }
}

fn main() {}
