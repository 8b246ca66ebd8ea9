use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn check(&self, db: &mut ReadTransaction) -> Result<()> {
        let count: u64 = db.query_one("SELECT count(*) FROM user", ()).await?;
        if count == 0 { Err(format!("{count} users")) } else { Ok(()) }
    }
}

fn main() {}
