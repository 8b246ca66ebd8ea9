//! Right, or not to be judged: the compiler says nothing.
#![deny(warnings)]

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::{ReadTransaction as Tx, named_params, params};

#[derive(DbManager)]
#[db_manager(version = "1.2.0", schema, checked, after("1.1.0" = Store::seed))]
pub struct Store<T: Send + Sync + 'static> {
    core: ManagerCore,
    _kind: std::marker::PhantomData<T>,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "other", checked(strict))]
pub struct Other {
    core: ManagerCore,
}

const UNCHECKED: &str = "SELECT a FROM made_at_run_time";
const CHECKED: &str = sql!("SELECT name FROM user WHERE id = ?1");

/// A helper, which serves any manager.
async fn helper(db: &mut ReadTransaction) -> Result<Vec<String>> {
    db.query(sql!("SELECT name FROM names"), ()).await
}

async fn elsewhere(db: &mut ReadTransaction) -> Result<Vec<i64>> {
    db.query(sql!("SELECT id FROM elsewhere"), ()).await
}

/// Of nobody knows which manager.
pub trait Cleaner: DbManager {
    #[allow(async_fn_in_trait)]
    #[database_safe]
    async fn clean(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("DELETE FROM a_table_of_somebody", ()).await
    }
}

impl Cleaner for Other {}

impl Other {
    #[database_safe]
    pub async fn ids(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        let mut ids: Vec<i64> = db.query("SELECT id FROM elsewhere", ()).await?;
        ids.extend(elsewhere(db).await?);
        Ok(ids)
    }
}

impl<T: Send + Sync + 'static> Store<T> {
    async fn seed(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(sql!(at "1.1.0", "UPDATE user SET email = name"), ()).await?;
        Ok(())
    }

    #[database_safe]
    pub async fn right(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO user (name) VALUES (?1)", ("Ada",)).await?;
        db.execute("INSERT INTO behind DEFAULT VALUES", ()).await?;
        db.execute_many("INSERT INTO user (name) VALUES (?1)", [("a",), ("b",)]).await?;
        db.execute_many(sql!("INSERT INTO user (name) VALUES (?1)"), [("a",), ("b",)]).await?;
        let mut names = db.stream::<(String,)>(sql!("SELECT name FROM names"), ());
        while names.next().await?.is_some() {}
        drop(names);
        db.execute("UPDATE log SET at = 1", ()).await?;
        db.execute("UPDATE names SET name = :new WHERE name = :old", ((":new", "a"), (":old", "b"))).await?;
        db.execute("UPDATE names SET name = @new WHERE name = $old", named_params! {"@new": "a", "$old": "b"}).await?;
        db.execute("DELETE FROM user WHERE id IN (?, ?, ?)", params![id, id, id]).await?;
        db.execute("DELETE FROM user WHERE id = ?2", (id, id)).await?;
        db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
        db.execute("INSERT INTO word (text) VALUES ('a')", ()).await?;
        let _ = db.query::<String>("PRAGMA journal_mode", ()).await?;
        let _ = db.query::<(i64, String)>("SELECT id, text FROM log; -- and no more", ()).await?;
        let _: Vec<i64> = db.query("DELETE FROM user WHERE id = 1 RETURNING id", ()).await?;
        let _: Vec<i64> = db.query("SELECT major FROM Version", ()).await?;
        let _: Option<String> = db.query_optional(CHECKED, (id,)).await?;
        let _: Option<String> = db.query_optional(UNCHECKED, ()).await?;
        let _ = helper(db).await?;
        Ok(())
    }

    /// What only the program has.
    #[database_safe]
    pub async fn registered(&self, db: &mut ReadTransaction) -> Result<i64> {
        let _ = db.query::<i64>("SELECT their_sum(id) FROM user GROUP BY name HAVING their_sum(id) > 1", ()).await?;
        let _ = db.query::<i64>("SELECT their_sum(DISTINCT id) OVER (ORDER BY name) FROM user", ()).await?;
        let _ = db.query::<String>("SELECT name FROM user ORDER BY name COLLATE their_other_order", ()).await?;
        let _ = db.query::<i64>("SELECT value FROM their_series(1, 10) JOIN user", ()).await?;
        db.query_one("SELECT count(*) FROM place WHERE a = 1", ()).await
    }

    /// The handle and the texts are others than they seem.
    #[database_safe]
    pub async fn shadowed(&self, db: &mut ReadTransaction, sql: &str, it: Fake) -> Result<()> {
        {
            let sql = "SELECT name FROM user";
            let _: Vec<String> = db.query(sql, ()).await?;
        }
        let _: Vec<String> = db.query(sql, ()).await?;
        for text in ["SELECT name FROM user"] {
            let _: Vec<String> = db.query(text, ()).await?;
        }
        let text = "SELECT wrong FROM user";
        for text in [text.replace("wrong", "name")] {
            let _: Vec<String> = db.query(&text, ()).await?;
        }
        let mut changed = "SELECT wrong FROM user";
        if sql.len() > 1 {
            changed = "SELECT name FROM user";
        }
        let _: Vec<String> = db.query(changed, ()).await?;
        let _ = std::any::type_name_of_val(&|db: &Fake| db.execute("no SQL at all"));
        {
            let db = it;
            db.execute("no SQL at all");
        }
        if let Some(db) = Some(it) {
            db.execute("no SQL at all");
        }
        match Some(it) {
            Some(db) => db.execute("no SQL at all"),
            None => (),
        }
        fn nested(db: Fake) {
            db.execute("no SQL at all");
        }
        nested(it);
        let other = Holder { db: it };
        other.db.execute("no SQL at all");
        Ok(())
    }

    #[database_safe]
    pub async fn conditional(&self, db: &mut ReadTransaction) -> Result<()> {
        #[cfg(any())]
        db.execute("no SQL at all");
        #[cfg(any())]
        let sql = "no SQL at all";
        #[cfg(all())]
        let sql = "SELECT name FROM user";
        let _: Vec<String> = db.query(sql, ()).await?;
        Ok(())
    }

    /// Macros make of their tokens what they like.
    #[database_safe]
    pub async fn macros(&self, db: &mut ReadTransaction) -> Result<()> {
        macro_rules! never {
            ($($any:tt)*) => {};
        }
        macro_rules! names {
            ($db:ident, $table:literal) => {
                $db.query::<String>(concat!("SELECT name FROM ", $table), ()).await?
            };
        }
        never!(db.query("no SQL at all", ()));
        let _ = stringify!(db.query("no SQL at all", ()));
        let _ = names!(db, "user");
        assert_eq!(db.query_one::<i64>("SELECT count(*) FROM user", ()).await?, 0);
        Ok(())
    }

    /// Which of its ways a body takes, nobody knows.
    #[database_safe]
    pub async fn own_tables(&self, db: &mut WriteTransaction, drop: bool) -> Result<()> {
        db.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").await?;
        db.execute("INSERT INTO mine VALUES (?1)", (1,)).await?;
        if drop {
            db.execute("DROP TABLE mine", ()).await?;
        } else {
            db.execute("ALTER TABLE mine RENAME COLUMN a TO b", ()).await?;
        }
        db.execute("DELETE FROM mine WHERE b = 1", ()).await?;
        Ok(())
    }

    #[database_safe]
    pub async fn connection(&self, db: &mut Connection) -> Result<()> {
        db.execute("ATTACH 'other.db' AS other", ()).await?;
        db.execute_batch("DELETE FROM other.anything; VACUUM").await
    }

    /// A name for a handle says nothing.
    #[database_safe]
    pub async fn by_a_name(&self, db: &mut Tx) -> Result<Vec<i64>> {
        db.query("SELECT id FROM whatever", ()).await
    }

    #[timed]
    #[database_safe]
    pub async fn of_an_arc(self: &Arc<Self>, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT their_sound(name) FROM user", ()).await
    }
}

/// Something else with a method of that name.
#[derive(Clone, Copy)]
pub struct Fake;

impl Fake {
    fn execute(self, _: &str) {}
}

struct Holder {
    db: Fake,
}
