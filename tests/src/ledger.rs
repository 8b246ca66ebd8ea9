//! A manager whose rows tell whether anything was lost or torn: for tests that kill it or break its file system.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dbm_core::prelude::*;
use dbm_core::rusqlite::{Connection as Sqlite, OpenFlags};

/// The version before the migration.
pub const OLD: &str = "1.0.0";
/// The version that rebuilds the table `account`, which `entry` refers to.
pub const NEW: &str = "2.0.0";
/// What the database has before it is adopted.
pub const UNADOPTED: &str = "none";
/// Rows of `account`, in every version.
const ACCOUNTS: i64 = 3;

/// Entries of two sides each: one with a single side is half a write.
#[derive(DbManager, Debug)]
#[db_manager(version = "1.0.0")]
pub struct Ledger {
    core: ManagerCore,
    /// How often `init_db` and `migrate_db` were called.
    pub hooks: AtomicUsize,
}

impl Schema for Ledger {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        self.hooks.fetch_add(1, Ordering::Relaxed);
        db.execute_batch(
            "CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
             CREATE TABLE entry (
                 id INTEGER NOT NULL,
                 side INTEGER NOT NULL,
                 account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
                 text TEXT NOT NULL,
                 PRIMARY KEY (id, side)
             ) STRICT",
        )
        .await?;
        for id in 1..=ACCOUNTS {
            db.execute("INSERT INTO account VALUES (?1, 'name')", (id,))
                .await?;
        }
        Ok(())
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _current: &Version,
        _target: &Version,
    ) -> Result<bool> {
        self.hooks.fetch_add(1, Ordering::Relaxed);
        db.execute_batch(
            "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance INTEGER NOT NULL) STRICT;
             INSERT INTO new SELECT id, name, 0 FROM account;
             DROP TABLE account;
             ALTER TABLE new RENAME TO account",
        )
        .await?;
        db.execute("CREATE INDEX by_account ON entry (account)", ())
            .await?;
        Ok(true)
    }
}

impl Ledger {
    /// Opens the database of a directory at a version, and waits. One that no manager made is adopted as [`OLD`].
    ///
    /// # Errors
    ///
    /// Why start-up failed.
    pub async fn open(config: Config, version: &str) -> Result<Arc<Self>> {
        let parse = |version| Version::parse(version).map_err(Error::other);
        Self::create(config.version(parse(version)?).adopt(parse(OLD)?)).await
    }

    /// Adds both sides of an entry.
    ///
    /// # Errors
    ///
    /// When there is one with this number, and what the file system says.
    #[database_safe]
    pub async fn add(&self, db: &mut WriteTransaction, id: i64, text: &str) -> Result<()> {
        both_sides(db, id, text).await
    }

    /// The same by one statement.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    #[database_safe]
    pub async fn add_at_once(&self, db: &mut WriteTransaction, id: i64, text: &str) -> Result<()> {
        db.execute(
            "INSERT INTO entry (id, side, account, text) VALUES (?1, 1, 1, ?2), (?1, 2, 2, ?2)",
            (id, text),
        )
        .await?;
        Ok(())
    }

    /// Adds an entry and takes it back.
    ///
    /// # Errors
    ///
    /// Always.
    #[database_safe]
    pub async fn add_and_fail(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        both_sides(db, id, "must not stay").await?;
        Err(Error::other("changed its mind"))
    }

    /// The numbers of all entries.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn ids(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT DISTINCT id FROM entry ORDER BY id", ())
            .await
    }

    /// Adds an entry in a transaction of the body's own.
    ///
    /// # Errors
    ///
    /// SQLite's; those of the disk leave open whether the entry is there.
    #[database_safe]
    pub async fn add_bare(&self, db: &mut Connection, id: i64) -> Result<()> {
        let sides =
            [1, 2].map(|side| format!("INSERT INTO entry VALUES ({id}, {side}, 1, 'bare');"));
        db.execute_batch(&format!("BEGIN; {} COMMIT", sides.concat()))
            .await
    }

    /// Writes the whole file anew.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }
}

async fn both_sides(db: &mut WriteTransaction, id: i64, text: &str) -> Result<()> {
    for side in [1, 2] {
        db.execute(
            "INSERT INTO entry (id, side, account, text) VALUES (?1, ?2, ?3, ?4)",
            (id, side, 1 + id.rem_euclid(ACCOUNTS), text),
        )
        .await?;
    }
    Ok(())
}

/// What a database file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The stored version.
    pub version: String,
    /// Numbers of the entries.
    pub entries: BTreeSet<i64>,
}

/// Looks into a database with SQLite alone, which recovers it; `None` when it has no table, and an error when it is
/// anything but wholly of one version.
///
/// # Errors
///
/// What is wrong with it.
pub fn look(file: &Path) -> Result<Option<Sight>, String> {
    if !file.exists() {
        return Ok(None);
    }
    inspect(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn inspect(file: &Path) -> Result<Option<Sight>, Box<dyn std::error::Error>> {
    let db = Sqlite::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let number = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0));
    if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(None);
    }
    let verdict: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
    if verdict != "ok" {
        return Err(verdict.into());
    }
    let has_version = "SELECT count(*) FROM sqlite_schema WHERE name = 'Version'";
    let version: String = if number(has_version)? == 0 {
        UNADOPTED.to_owned()
    } else {
        db.query_row(
            "SELECT group_concat(major || '.' || minor || '.' || patch) FROM Version",
            (),
            |row| row.get(0),
        )?
    };
    let tables: String = db.query_row(
        "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)",
        (),
        |row| row.get(0),
    )?;
    let (expected, columns) = match version.as_str() {
        UNADOPTED => ("account,entry", 2),
        OLD => ("Version,account,entry", 2),
        NEW => ("Version,account,by_account,entry", 3),
        _ => return Err(format!("version {version}").into()),
    };
    if tables != expected || number("SELECT count(*) FROM pragma_table_info('account')")? != columns
    {
        return Err(format!("version {version} with {tables}").into());
    }
    if number("SELECT count(*) FROM account")? != ACCOUNTS {
        return Err("accounts are missing".into());
    }
    if number("SELECT count(*) FROM pragma_foreign_key_check")? != 0 {
        return Err("foreign keys are violated".into());
    }
    if number("SELECT count(*) FROM (SELECT 1 FROM entry GROUP BY id HAVING count(*) <> 2)")? != 0 {
        return Err("there is half a write".into());
    }
    let mut statement = db.prepare("SELECT DISTINCT id FROM entry")?;
    let entries = statement.query_map((), |row| row.get(0))?;
    Ok(Some(Sight {
        version,
        entries: entries.collect::<Result<_, _>>()?,
    }))
}
