use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, _: &mut WriteTransaction) -> anyhow::Result<()> {
        Ok(())
    }
}

fn main() {}
