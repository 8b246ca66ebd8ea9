use dbm_core::prelude::*;

dbm_tests::manager!(Store);

#[async_trait::async_trait]
trait Users: DbManager {
    #[database_safe]
    #[fail_value(0)]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<u64> {
        db.query_one("SELECT ?1", (id,)).await
    }
}

fn main() {}
