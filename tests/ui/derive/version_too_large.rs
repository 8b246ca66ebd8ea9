use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.9223372036854775808")]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn caller(config: Config) {
    let _ = Store::start(config);
}

fn main() {}
