use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager("1.0.0")]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn main() {}
