use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<String> {
        let id: u64 = db.query_one("SELECT 1", ()).await?;
        Ok(id)
    }
}

fn main() {}
