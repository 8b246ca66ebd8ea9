use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(notify))]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

impl Store {
    #[job]
    async fn notify(&self, text: &str) -> Result<()> {
        drop(text.to_owned());
        Ok(())
    }
}

fn caller(store: &Store) {
    let _ = (store, Store::notify_job("x"));
}

fn main() {}
