//! A manager that says that its program registers nothing hears of what is unknown.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "plain", checked(strict))]
pub struct Strict {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "plain", checked)]
pub struct Lenient {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "own", checked(strict))]
pub struct Own {
    core: ManagerCore,
}

macro_rules! all {
    ($($name:ident)*) => {$(
        impl $name {
            #[database_safe]
            pub async fn function(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
                db.query("SELECT coutn(*) FROM user", ()).await
            }

            #[database_safe]
            pub async fn arguments(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
                db.query("SELECT length(name, 1) FROM user", ()).await
            }

            #[database_safe]
            pub async fn collation(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
                db.query("SELECT id FROM user ORDER BY name COLLATE ncase", ()).await
            }

            #[database_safe]
            pub async fn module(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
                db.query("SELECT value FROM generate_series(1, 3)", ()).await
            }
        }
    )*};
}

all!(Strict Lenient);
