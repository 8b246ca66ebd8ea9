use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn outer(&self, db: &mut ReadTransaction) -> Result<u64> {
        self.user(db, 1).await
    }
}

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<u64> {
        db.query_one("SELECT ?1", (id,)).await
    }
}

fn main() {}
