//! Somebody is typing: the compiler says that it does not understand, and nothing of SQL but what is wrong with it.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema, checked)]
pub struct Store {
    core: ManagerCore,
}

impl Store {
    #[database_safe]
    pub async fn a(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT nam FROM user", ()).await
    }

    #[database_safe]
    pub async fn b(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        let names: Vec<String> = db.query("SELECT name FROM user WHERE id = ?1", (1,)).await?;
        db.
    }

    #[database_safe]
    pub async fn c(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        let sql = 
    }

    #[database_safe]
    pub async fn d(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query::<
    }

    #[database_safe]
    pub async fn e(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        for name in
    }

    #[database_safe]
    pub async fn f(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        let names: = |db
    }
}
