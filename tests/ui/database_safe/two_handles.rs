use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction, tx: &mut WriteTransaction) -> Result<u64> {
        tx.execute("DELETE FROM user", ()).await?;
        db.query_one("SELECT 1", ()).await
    }
}

fn main() {}
