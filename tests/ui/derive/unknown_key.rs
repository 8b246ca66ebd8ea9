use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(schemaversion = "1.0.0")]
struct Store {
    core: ManagerCore,
}

dbm_tests::schema!(Store);

fn caller(config: Config) {
    let _ = Store::start(config);
}

fn main() {}
