dbm_tests::manager!(Store);

async fn start() -> dbm_core::Result<std::sync::Arc<Store>> {
    Store::create(dbm_core::Config::new("data")).await
}

async fn stop(store: &Store) -> dbm_core::Result<()> {
    store.close().await
}

fn main() {}
