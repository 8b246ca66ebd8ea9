use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    #[db_manager(core)]
    name: String,
    core: ManagerCore,
}

dbm_tests::schema!(Store);

async fn caller(store: &Store) -> Result<()> {
    store.close().await
}

fn main() {}
