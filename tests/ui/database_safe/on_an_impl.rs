use dbm_core::prelude::*;

dbm_tests::manager!(Store);

#[database_safe]
impl Store {
    fn id(&self) -> u64 {
        1
    }
}

fn caller(store: &Store) -> u64 {
    store.id()
}

fn main() {}
