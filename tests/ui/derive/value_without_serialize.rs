use dbm_core::prelude::*;

#[derive(ToValue)]
enum Item {
    Sword,
}

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("INSERT INTO item (kind) VALUES (?1)", (Item::Sword,)).await
    }
}

async fn caller(store: &Store) -> Result<usize> {
    store.add().await
}

fn main() {}
