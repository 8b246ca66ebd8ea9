use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(notify, notfiy))]
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

}

fn caller(store: &Store) {
    let _ = store;
}

fn main() {}
