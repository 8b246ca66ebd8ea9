use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_with_exception]
    #[fail_value((Vec::new(), None))]
    async fn ids(&self, db: &mut ReadTransaction) -> Result<(Vec<u64>, Option<String>)> {
        Ok((db.query("SELECT 1", ()).await?, None))
    }
}

async fn caller(store: &Store) {
    let _: (Vec<u64>, Option<String>) = store.ids().await;
}

fn main() {}
