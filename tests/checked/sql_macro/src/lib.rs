//! Texts that are checked where they stand.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.1.0", schema, checked, after("1.0.0" = Store::old))]
pub struct Store {
    core: ManagerCore,
}

pub const RIGHT: &str = sql!("SELECT called FROM user");
pub const WRONG: &str = sql!("SELECT name FROM user");
pub const SCRIPT: &str = sql!("CREATE TEMP TABLE a (b); INSERT INTO a SELECT id FROM user; DROP TABLE c;");
pub const TOO_LATE: &str = sql!(at "1.0.0", "SELECT called FROM user");
pub const NO_FILE: &str = sql!(at "1.0.5", "SELECT called FROM user");
pub const NO_VERSION: &str = sql!(at "1.0", "SELECT called FROM user");
pub const NO_TEXT: &str = sql!(RIGHT);
pub const PUT_TOGETHER: &str = sql!(concat!("SELECT name ", "FROM user"));

impl Store {
    async fn old(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(sql!(at "1.0.0", "UPDATE user SET name = upper(name)"), ()).await?;
        Ok(())
    }

    /// The macro has said what is wrong.
    #[database_safe]
    pub async fn inside(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        let _: Vec<String> = db.query(sql!("SELECT called FROM user WHERE id = ?1"), ()).await?;
        db.query(sql!("SELECT nam FROM user"), ()).await
    }
}
