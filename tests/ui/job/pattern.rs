use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(notify))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job]
    async fn notify(&self, (channel, text): (u64, String)) -> Result<()> {
        drop((channel, text));
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = store;
}

fn main() {}
