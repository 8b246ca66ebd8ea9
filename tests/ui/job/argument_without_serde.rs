use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(notify))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

struct Channel(u64);

impl Store {
    #[job]
    async fn notify(&self, channel: Channel) -> Result<()> {
        drop(channel);
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = (store, Store::notify_job(Channel(1)));
}

fn main() {}
