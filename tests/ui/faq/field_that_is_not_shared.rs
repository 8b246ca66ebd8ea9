use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    seen: std::cell::RefCell<u64>,
}

dbm_tests::schema!(Store);

fn main() {}
