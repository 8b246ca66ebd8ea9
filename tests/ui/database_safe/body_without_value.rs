use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn rename(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM user", ()).await?;
    }
}

fn main() {}
