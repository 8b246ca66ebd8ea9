use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    name: String,
}

dbm_tests::schema!(Store);

impl Store {
    #[database_safe]
    async fn exists(&self, db: &mut ReadTransaction) -> Result<bool> {
        db.call(move |connection| Ok(connection.prepare("SELECT ?1")?.exists((&self.name,))?)).await
    }
}

async fn caller(store: &Store) -> Result<bool> {
    store.exists().await
}

fn main() {}
