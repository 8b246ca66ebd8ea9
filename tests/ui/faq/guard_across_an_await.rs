use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    seen: std::sync::Mutex<u64>,
}

dbm_tests::schema!(Store);

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        let mut seen = self.seen.lock().unwrap();
        *seen = db.query_one("SELECT count(*) FROM user", ()).await?;
        Ok(*seen)
    }
}

fn caller(store: std::sync::Arc<Store>) {
    tokio::spawn(async move { store.count().await });
}

fn main() {}
