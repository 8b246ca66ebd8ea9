//! Steps in Rust that are none.

use dbm_core::prelude::*;

macro_rules! manager {
    ($name:ident, $step:path) => {
        #[derive(DbManager)]
        #[db_manager(version = "1.0.0", schema, after("1.0.0" = $step))]
        pub struct $name {
            core: ManagerCore,
        }
    };
}

manager!(OtherValue, OtherValue::step);
manager!(NotAsync, NotAsync::step);
manager!(OtherHandle, OtherHandle::step);

impl OtherValue {
    async fn step(&self, _: &mut WriteTransaction) -> Result<u8> {
        Ok(0)
    }
}

impl NotAsync {
    fn step(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl OtherHandle {
    async fn step(&self, _: &mut Connection) -> Result<()> {
        Ok(())
    }
}
