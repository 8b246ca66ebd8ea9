use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn shorten(&self, db: &mut WriteTransaction) -> Result<()> {
        let mut ids = db.stream::<i64>("SELECT id FROM note", ());
        while let Some(id) = ids.next().await? {
            db.execute("UPDATE note SET text = '' WHERE id = ?1", (id,)).await?;
        }
        Ok(())
    }
}

async fn caller(store: &Store) -> Result<()> {
    store.shorten().await
}

fn main() {}
