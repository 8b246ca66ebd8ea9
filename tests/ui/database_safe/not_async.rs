use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    fn rename(&self, db: &mut WriteTransaction, id: u64) -> Result<()> {
        db.execute("DELETE FROM user WHERE id = ?1", (id,)).await?;
        Ok(())
    }
}

async fn caller(store: &Store) {
    let _: Result<()> = store.rename(1).await;
}

fn main() {}
