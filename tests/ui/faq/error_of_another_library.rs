use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn double(&self, db: &mut ReadTransaction, number: &str) -> Result<u64> {
        let number: u64 = number.parse()?;
        db.query_one("SELECT 2 * ?1", (number,)).await
    }
}

fn main() {}
