use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[required_argument(id)]
    fn find(&self, id: Option<u64>) -> Result<Option<u64>> {
        Ok(id)
    }
}

async fn caller(store: &Store) {
    let _: Result<Option<u64>> = store.find(None).await;
}

fn main() {}
