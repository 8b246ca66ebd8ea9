use dbm_core::prelude::*;
use std::sync::Arc;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: Arc<ManagerCore>,
}

dbm_tests::schema!(Store);

async fn caller(store: &Store) -> Result<()> {
    store.close().await
}

fn main() {}
