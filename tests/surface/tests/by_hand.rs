//! What the attributes generate, written by hand: a manager needs no macro.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::__private::{Shareable, Start, begin};
use dbm_core::call::{Site, call};
use dbm_core::prelude::*;

struct Store {
    core: ManagerCore,
}

impl Shareable for Store {}

impl DbManager for Store {
    const VERSION: Version = Version::new(1, 0, 0);

    fn __core(&self) -> &ManagerCore {
        &self.core
    }

    fn __begin(start: Start<Self>, here: bool) -> Arc<Self> {
        begin(start, here)
    }
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE event (text TEXT NOT NULL) STRICT")
            .await
    }
}

impl Store {
    async fn note(&self, text: &str) -> Result<()> {
        static SITE: Site = Site::new(module_path!(), "note").timeout_ms(5_000);
        call(&SITE, self)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut db: WriteTransaction| {
                db.execute("INSERT INTO event VALUES (?1)", (text,)).await?;
                Ok(())
            })
            .await
            .into_result()
    }

    async fn notes(&self, table: &str) -> Vec<String> {
        static SITE: Site = Site::new(module_path!(), "notes");
        call(&SITE, self)
            .on::<ReadTransaction>()
            .returning::<Result<Vec<String>>>()
            .run(async |mut db: ReadTransaction| {
                db.query(&format!("SELECT text FROM {table}"), ()).await
            })
            .await
            .fail_value(Vec::new)
    }
}

async fn story() -> Result<()> {
    let store = Store::create_with(Config::in_memory(), |core| Store { core }).await?;
    store.note("a").await?;
    assert_eq!(store.notes("event").await, ["a"]);
    assert!(store.notes("no_such_table").await.is_empty());
    store.close().await
}

#[tokio::test]
async fn a_manager_needs_no_macro() {
    tokio::time::timeout(Duration::from_secs(60), story())
        .await
        .unwrap()
        .unwrap();
}
