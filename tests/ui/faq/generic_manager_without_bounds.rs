use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store<T> {
    core: ManagerCore,
    cache: T,
}

impl<T: Send + Sync + 'static> Schema for Store<T> {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl<T> Store<T> {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

fn main() {}
