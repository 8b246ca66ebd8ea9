use dbm_core::prelude::*;

async fn count(db: &mut ReadTransaction) -> Result<u64> {
    db.query_row("SELECT count(*) FROM user", (), |row| row.get(0)).await
}

fn main() {}
