use dbm_core::prelude::*;

#[db_manager(version = "1.0.0")]
#[derive(DbManager)]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn main() {}
