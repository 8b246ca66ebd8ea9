use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[required_argument(id, nmae)]
    async fn find(
        &self,
        db: &mut ReadTransaction,
        id: Option<u64>,
        name: Option<&str>,
        limit: u64,
    ) -> Result<u64> {
        db.query_one("SELECT ?1, ?2, ?3", (id, name, limit)).await
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.find(None, None, 1).await;
}

fn main() {}
