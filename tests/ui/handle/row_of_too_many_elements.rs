use dbm_core::prelude::*;

dbm_tests::manager!(Store);

type Wide = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8);

impl Store {
    #[database_safe]
    async fn wide(&self, db: &mut ReadTransaction) -> Result<Vec<Wide>> {
        db.query("SELECT * FROM wide", ()).await
    }
}

async fn caller(store: &Store) -> Result<Vec<Wide>> {
    store.wide().await
}

fn main() {}
