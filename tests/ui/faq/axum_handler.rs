use std::sync::Arc;

use axum::extract::State;
use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

async fn handler(State(store): State<Arc<Store>>) -> Result<String> {
    Ok(store.count().await?.to_string())
}

fn routes(store: Arc<Store>) -> axum::Router {
    axum::Router::new().route("/", axum::routing::get(handler)).with_state(store)
}

fn main() {}
