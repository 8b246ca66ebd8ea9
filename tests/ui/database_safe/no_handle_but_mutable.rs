use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn fill(&self, out: &mut Vec<u64>) -> Result<()> {
        out.push(db.query_one("SELECT 1", ()).await?);
        Ok(())
    }
}

async fn caller(store: &Store) {
    let _: Result<()> = store.fill(&mut Vec::new()).await;
}

fn main() {}
