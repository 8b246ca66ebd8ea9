use dbm_core::prelude::*;

dbm_tests::manager!(Store);

#[async_trait::async_trait]
trait Users {
    async fn user(&self, id: u64, name: &str) -> Result<u64>;
}

#[async_trait::async_trait]
impl Users for Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, id: u64, name: &str) -> Result<u64> {
        db.query_one("SELECT ?1 + length(?2)", (id, name)).await
    }
}

fn main() {}
