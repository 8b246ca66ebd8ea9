use dbm_core::prelude::*;

dbm_tests::manager!(Store);

struct Mute;

impl From<Error> for Mute {
    fn from(_: Error) -> Self {
        Self
    }
}

impl Store {
    #[database_safe]
    #[fail_value(None)]
    async fn user(&self, db: &mut ReadTransaction) -> Result<Option<u64>, Mute> {
        Ok(db.query_optional("SELECT 1", ()).await?)
    }
}

async fn caller(store: &Store) {
    let _: Option<u64> = store.user().await;
}

fn main() {}
