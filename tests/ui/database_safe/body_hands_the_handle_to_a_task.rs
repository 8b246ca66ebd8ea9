use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn user(&self, db: &mut ReadTransaction) -> Result<()> {
        let user = async move { db.query_one::<u64>("SELECT 1", ()).await };
        let _ = tokio::spawn(user);
        Ok(())
    }
}

async fn caller(store: &Store) {
    let _: Result<()> = store.user().await;
}

fn main() {}
