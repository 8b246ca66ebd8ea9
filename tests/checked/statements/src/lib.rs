//! Each statement of `Store` is wrong in its own way; the same are right in `ByHand`, of which nothing is known.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.1.0", schema, checked)]
pub struct Store {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.1.0", schema)]
pub struct Unchecked {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.1.0")]
pub struct ByHand {
    core: ManagerCore,
}

impl Schema for ByHand {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

macro_rules! statements {
    ($manager:ident) => {
        impl $manager {
            #[database_safe]
            pub async fn by_macro(&self, db: &mut WriteTransaction) -> Result<usize> {
                db.execute("DELETE FROM admins", ()).await
            }
        }
    };
}

statements!(Unchecked);
statements!(ByHand);

impl ByHand {
    #[database_safe]
    pub async fn unknown_table(&self, db: &mut WriteTransaction, id: i64) -> Result<bool> {
        Ok(db.execute("DELETE FROM admins WHERE id = ?1", (id,)).await? > 0)
    }
}

impl Store {
    #[database_safe]
    pub async fn unknown_table(&self, db: &mut WriteTransaction, id: i64) -> Result<bool> {
        Ok(db.execute("DELETE FROM admins WHERE id = ?1", (id,)).await? > 0)
    }

    #[database_safe]
    pub async fn unknown_columns(&self, db: &mut WriteTransaction) -> Result<()> {
        db.query_one::<String>("SELECT nam FROM user WHERE id = 1", ()).await?;
        db.query_one::<String>(r#"SELECT "nam" FROM user WHERE id = 1"#, ()).await?;
        db.execute("UPDATE user SET emial = NULL", ()).await?;
        db.execute("INSERT INTO user (id, nam) VALUES (1, 'a')", ()).await?;
        db.execute(
            "UPDATE user
                SET name = upper(name)
              WHERE user.ident = 7 AND '{}' <> '{x}'",
            (),
        )
        .await?;
        Ok(())
    }

    #[database_safe]
    #[fail_value(None)]
    pub async fn syntax(&self, db: &mut ReadTransaction) -> Result<Option<String>> {
        let first = db.query_optional("SELEC name FROM user", ()).await?;
        let sql = "SELECT name FORM user";
        let second = db.query_optional(sql, ()).await?;
        const THIRD: &str = "SELECT name FROM user LIMIT";
        let third: Option<String> = db.query_optional(THIRD, ()).await?;
        let fourth = db.query_optional(concat!("SELECT name ", "FROM users"), ()).await?;
        Ok(first.or(second).or(third).or(fourth))
    }

    #[database_safe]
    pub async fn refused(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("COMMIT", ()).await?;
        db.execute_batch("DELETE FROM note; SAVEPOINT mine").await?;
        db.execute("ATTACH 'other.db' AS other", ()).await?;
        db.execute("PRAGMA journal_mode = DELETE", ()).await?;
        Ok(())
    }

    #[database_safe]
    pub async fn several(&self, db: &mut WriteTransaction) -> Result<Vec<i64>> {
        db.execute("DELETE FROM note; DELETE FROM user", ()).await?;
        db.query("SELECT id FROM user; SELECT id FROM user", ()).await
    }

    #[database_safe]
    pub async fn without_columns(&self, db: &mut WriteTransaction) -> Result<Vec<i64>> {
        db.query("DELETE FROM note", ()).await
    }

    #[database_safe]
    pub async fn parameters(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("DELETE FROM note WHERE user = ?1", ()).await?;
        db.execute("DELETE FROM note WHERE user = ?1", (id, id)).await?;
        db.execute("DELETE FROM note WHERE user = 1", params![id]).await?;
        db.execute("DELETE FROM note WHERE user = :id", ((":user", id),)).await?;
        db.execute("DELETE FROM note WHERE user = :id AND text = :text", named_params! {":id": id}).await?;
        db.execute("DELETE FROM note WHERE user = :id", [(":id", id), (":id", id)]).await?;
        Ok(())
    }

    #[database_safe]
    pub async fn columns(&self, db: &mut ReadTransaction) -> Result<(i64, String)> {
        let all: Vec<(i64, String)> = db.query("SELECT * FROM user", ()).await?;
        let one = db.query_one::<i64>("SELECT id, name FROM user", ()).await?;
        let some: Option<(i64, String)> = db.query_optional("SELECT id FROM user", ()).await?;
        Ok(some.or(all.into_iter().next()).unwrap_or((one, String::new())))
    }

    #[database_safe]
    pub async fn write_in_a_read(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("DELETE FROM user RETURNING id", ()).await
    }

    #[database_safe]
    pub async fn in_an_assertion(&self, db: &mut ReadTransaction) -> Result<()> {
        assert_eq!(db.query_one::<i64>("SELECT count(*) FROM notes", ()).await?, 0);
        Ok(())
    }

    #[database_safe]
    pub async fn own_tables(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TEMP TABLE seen (id INTEGER PRIMARY KEY)").await?;
        db.execute("INSERT INTO seen SELECT id FROM user", ()).await?;
        db.execute("INSERT INTO seen (ident) SELECT id FROM user", ()).await?;
        Ok(())
    }
}
