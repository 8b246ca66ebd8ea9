use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct Pool(u64);

impl Store {
    #[database_safe]
    async fn user(&self, pool: &mut Pool, id: u64) -> Result<u64> {
        pool.0 += id;
        Ok(pool.0)
    }
}

async fn caller(store: &Store) {
    let _: Result<u64> = store.user(1).await;
}

fn main() {}
