use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn rename(&self, db: &mut WriteTransaction) {
        db.execute("DELETE FROM user", ()).await?;
    }
}

async fn caller(store: &Store) {
    store.rename().await;
}

fn main() {}
