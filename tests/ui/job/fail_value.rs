use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(tidy))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job]
    #[database_safe]
    #[fail_value(())]
    async fn tidy(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("SELECT 1").await
    }
}

fn caller(store: &Store) {
    let _ = store;
}

fn main() {}
