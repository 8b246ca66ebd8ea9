use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.call(|connection| connection.query_row("SELECT count(*) FROM user", (), |row| row.get(0))).await
    }
}

fn main() {}
