use dbm_core::prelude::*;

dbm_tests::manager!(Store);

#[database_safe]
async fn user(store: &Store, db: &mut ReadTransaction) -> Result<u64> {
    db.query_one("SELECT 1", ()).await
}

fn main() {}
