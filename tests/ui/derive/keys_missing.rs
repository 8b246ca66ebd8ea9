use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn main() {}
