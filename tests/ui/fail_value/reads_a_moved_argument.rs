use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_value(names)]
    async fn rename(&self, db: &mut WriteTransaction, names: Vec<String>) -> Result<Vec<String>> {
        db.execute("DELETE FROM user", ()).await?;
        Ok(names)
    }
}

async fn caller(store: &Store) {
    let _: Vec<String> = store.rename(Vec::new()).await;
}

fn main() {}
