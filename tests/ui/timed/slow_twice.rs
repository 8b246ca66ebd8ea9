use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[timed(slow = "1s", slow = "2s")]
    async fn sum(&self, a: u64) -> u64 {
        a + 1
    }
}

async fn caller(store: &Store) {
    let _: u64 = store.sum(1).await;
}

fn main() {}
