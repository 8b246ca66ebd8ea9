use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn exists(&self, db: &mut ReadTransaction, name: &str) -> Result<bool> {
        let users: u64 = db.query_one("SELECT count(*) FROM user", ()).await?;
        let found = db.call(move |connection| {
            let mut user = connection.prepare("SELECT 1 FROM user WHERE name = ?1")?;
            Ok(user.exists((name,))?)
        });
        Ok(users > 0 && found.await?)
    }
}

async fn caller(store: &Store) -> Result<bool> {
    store.exists("Ada").await
}

fn main() {}
