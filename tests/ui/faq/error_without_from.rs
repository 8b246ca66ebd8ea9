use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct NotFound;

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64, NotFound> {
        let count: u64 = db.query_one("SELECT count(*) FROM user", ()).await?;
        if count == 0 { Err(NotFound) } else { Ok(count) }
    }
}

fn main() {}
