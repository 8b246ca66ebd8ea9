#[db_manager(version = "1.2.0")]
pub struct Store<T: Tag> {
    core: ManagerCore,
    tags: Vec<T>,
    address: IpAddr,
}
