//! The macros find dbm-core under another name.

use db::prelude::*;
use dbm_tests_renamed::Store;

#[tokio::test]
async fn the_macros_find_the_crate_under_another_name() {
    let store = Store::create(Config::in_memory()).await.unwrap();
    let id = store.add("Ada").await.unwrap();
    assert_eq!(store.name(Some(id)).await.as_deref(), Some("Ada"));
    assert_eq!(store.name(None).await, None);
    store.close().await.unwrap();
}
