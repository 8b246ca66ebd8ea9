use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    calls: u64,
}

dbm_tests::schema!(Store);

impl Store {
    #[database_safe]
    async fn users(&self, db: &mut ReadTransaction) -> Result<u64> {
        self.calls += 1;
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

async fn caller(store: &Store) -> Result<u64> {
    store.users().await
}

fn main() {}
