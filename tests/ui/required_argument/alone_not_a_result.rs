use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[required_argument(id)]
    async fn find(&self, id: Option<u64>) -> Option<u64> {
        id
    }
}

async fn caller(store: &Store) {
    let _: Option<u64> = store.find(None).await;
}

fn main() {}
