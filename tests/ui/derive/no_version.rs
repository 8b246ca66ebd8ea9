use dbm_core::prelude::*;

#[derive(DbManager)]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn caller(config: Config) {
    let _ = Store::start(config);
}

fn main() {}
