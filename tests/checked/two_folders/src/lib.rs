//! What is right in one manager is wrong in the other.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema, checked)]
pub struct Store {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "cache", checked)]
pub struct Cache {
    core: ManagerCore,
}

macro_rules! both {
    ($($name:ident)*) => {$(
        impl $name {
            #[database_safe]
            pub async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
                db.query("SELECT name FROM user", ()).await
            }

            #[database_safe]
            pub async fn pages(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
                db.query(sql!("SELECT url FROM page"), ()).await
            }
        }
    )*};
}

both!(Store Cache);
