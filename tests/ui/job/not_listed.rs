use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(notify))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job]
    async fn notify(&self, channel: u64) -> Result<()> {
        drop(channel);
        Ok(())
    }

    #[job]
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = (store, Store::notify_job(1), Store::tidy_job());
}

fn main() {}
