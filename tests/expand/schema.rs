#[derive(DbManager)]
#[db_manager(version = "1.2.0", schema = "squashed", after("1.1.0" = Store::seed))]
struct Store {
    core: ManagerCore,
}
