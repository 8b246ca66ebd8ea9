use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> anyhow::Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

fn main() {}
