use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(other))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job]
    async fn other(&self, channel: u64) -> Result<()> {
        drop(channel);
        Ok(())
    }

    #[job]
    async fn tidy(&self, days: u64) -> Result<()> {
        let _ = days;
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = (store, Store::tidy_job(1));
}

fn main() {}
