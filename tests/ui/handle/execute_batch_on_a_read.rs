use dbm_core::prelude::*;

async fn empty(db: &mut ReadTransaction) -> Result<()> {
    db.execute_batch("DELETE FROM user; DELETE FROM pet").await
}

fn main() {}
