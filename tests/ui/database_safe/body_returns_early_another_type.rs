use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<u64>> {
        if id == 0 {
            return None;
        }
        db.query_optional("SELECT ?1", (id,)).await
    }
}

fn main() {}
