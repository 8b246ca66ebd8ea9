use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(tidy))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job(every = "1h")]
    async fn tidy(&self, days: u64) -> Result<()> {
        let _ = days;
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = store;
}

fn main() {}
