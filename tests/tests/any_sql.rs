//! Any text for SQL with any parameters: a result each time, and the manager goes on.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::{Durability, Value, rusqlite};
use dbm_tests::{Dice, names, run, seeds, within};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, b TEXT UNIQUE, c ANY) STRICT;
            CREATE TABLE d (a INTEGER REFERENCES a ON DELETE CASCADE, e BLOB, PRIMARY KEY (a, e)) WITHOUT ROWID;
            CREATE VIEW v AS SELECT a.id, d.e FROM a JOIN d ON d.a = a.id;
            CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO d VALUES (new.id, new.b); END;
            CREATE VIRTUAL TABLE f USING fts5(b)",
        )
        .await
    }
}

/// Endless statements are stopped by the timeout.
impl Store {
    #[database_safe(timeout = "200ms")]
    async fn read(&self, db: &mut ReadTransaction, sql: &str, values: &[Value]) -> Result<()> {
        db.query_map(sql, values, |_| Ok(())).await.map(drop)
    }

    #[database_safe(timeout = "200ms")]
    async fn rows(&self, db: &mut WriteTransaction, sql: &str, values: &[Value]) -> Result<()> {
        db.query_map(sql, values, |_| Ok(())).await.map(drop)
    }

    #[database_safe(timeout = "200ms")]
    async fn write(&self, db: &mut WriteTransaction, sql: &str, values: &[Value]) -> Result<()> {
        db.execute(sql, values).await.map(drop)
    }

    #[database_safe(timeout = "200ms")]
    async fn script(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe(timeout = "200ms")]
    async fn bare(&self, db: &mut Connection, sql: &str, values: &[Value]) -> Result<()> {
        db.execute(sql, values).await.map(drop)
    }

    #[database_safe]
    async fn one(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT 1", ()).await
    }
}

/// Statements that mean something, to be spoiled.
const STATEMENTS: &[&str] = &[
    "SELECT * FROM a , d WHERE a . id = ?1 ORDER BY b COLLATE NOCASE LIMIT ?2",
    "SELECT count ( * ) , group_concat ( b ) FROM v GROUP BY e HAVING max ( id ) > :x",
    "WITH RECURSIVE n ( x ) AS ( SELECT 1 UNION ALL SELECT x + 1 FROM n ) SELECT x FROM n",
    "INSERT INTO a ( b , c ) VALUES ( ?1 , ?2 ) ON CONFLICT ( b ) DO UPDATE SET c = excluded . c RETURNING id",
    "REPLACE INTO d SELECT id , zeroblob ( 9 ) FROM a",
    "UPDATE a SET b = b || ?1 WHERE id IN ( SELECT a FROM d ) RETURNING *",
    "DELETE FROM a WHERE id = ?1",
    "INSERT INTO f VALUES ( ?1 )",
    "SELECT highlight ( f , 0 , '[' , ']' ) FROM f WHERE f MATCH ?1",
    "CREATE TABLE x ( y PRIMARY KEY , z AS ( y + 1 ) STORED CHECK ( z > 0 ) )",
    "CREATE TEMP TABLE a ( id )",
    "CREATE TRIGGER u BEFORE DELETE ON a BEGIN SELECT RAISE ( ROLLBACK , 'no' ) ; END",
    "ALTER TABLE a RENAME COLUMN b TO q",
    "DROP TABLE d",
    "SAVEPOINT s ; RELEASE s ; COMMIT",
    "BEGIN IMMEDIATE ; ROLLBACK",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7 ; PRAGMA table_info ( a )",
    "ATTACH ':memory:' AS m ; DETACH m",
    "REINDEX ; ANALYZE",
    "VACUUM",
    "EXPLAIN QUERY PLAN SELECT json_extract ( ?1 , '$.x' ) FROM json_each ( ?2 )",
    "SELECT ( ( ( 1 ) ) ) , x'ab' , \"b\" , [b] , `b` , 1e999 , 0x7f , - 9223372036854775808 , NULL -- end",
];

/// Words of these statements, with some lost, doubled, changed or from another one.
fn sql(dice: &mut Dice) -> String {
    let mut words: Vec<&str> = statement(dice).split(' ').collect();
    let changes = if dice.one_in(2) { 0 } else { dice.below(4) };
    for _ in 0..changes {
        let place = dice.below(words.len());
        match dice.below(5) {
            0 => words.truncate(place + 1),
            1 => words[place] = "",
            2 => words.insert(place, words[place]),
            3 => words[place] = word(dice),
            _ => words.extend(statement(dice).split(' ')),
        }
    }
    let mut text = words.join(" ");
    if dice.one_in(16) {
        let odd = [
            "\0", "'", "\"", "/*", "é🦀", "\u{feff}", ";;", "?99999", "\\",
        ];
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let place = places.get(dice.below(places.len().max(1)));
        text.insert_str(place.copied().unwrap_or(0), odd[dice.below(odd.len())]);
    }
    text
}

fn statement(dice: &mut Dice) -> &'static str {
    STATEMENTS[dice.below(STATEMENTS.len())]
}

/// `VACUUM INTO` would write where it likes, so this word stays where it is.
fn word(dice: &mut Dice) -> &'static str {
    let words: Vec<&str> = statement(dice)
        .split(' ')
        .filter(|word| *word != "INTO")
        .collect();
    words[dice.below(words.len())]
}

fn value(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0 => Value::Null,
        1 => Value::Integer([0, -1, i64::MAX, i64::MIN][dice.below(4)]),
        2 => Value::Real([f64::NAN, f64::INFINITY, -0.0, 1e-300][dice.below(4)]),
        3 => Value::Blob(vec![dice.any().to_le_bytes()[0]; dice.below(5_000)]),
        4 => Value::Text("\0".to_owned()),
        5 => Value::Text("{\"x\": [1, \"two\"".to_owned()),
        6 => Value::Text("x".repeat(dice.below(5_000))),
        7 => Value::Text("b AND NOT (\"c*".to_owned()),
        _ => Value::Integer(i64::from(dice.any().to_le_bytes()[0])),
    }
}

#[test]
fn any_sql_gives_a_result_and_stops_nobody() {
    run(async {
        let (mut store, mut fine, mut all) = (None, 0, 0);
        for seed in seeds(1_000) {
            let mut dice = Dice::new(seed);
            // A new one now and then, for most tables have been dropped by then.
            if all % 20 == 0 {
                end(store.take()).await;
                store = Some(begin().await);
            }
            let (store, _) = store.as_ref().unwrap();
            let sql = sql(&mut dice);
            println!("{sql:?}");
            let parameters = sql.matches(['?', ':']).count();
            let count = if dice.one_in(4) {
                dice.below(4)
            } else {
                parameters
            };
            let values: Vec<Value> = (0..count).map(|_| value(&mut dice)).collect();
            let result = match dice.below(6) {
                0 | 1 => within(store.read(&sql, &values)).await,
                2 => within(store.rows(&sql, &values)).await,
                3 => within(store.write(&sql, &values)).await,
                4 => within(store.script(&sql)).await,
                _ => within(store.bare(&sql, &values)).await,
            };
            fine += u32::from(result.is_ok());
            all += 1;
            assert!(!matches!(result, Err(Error::Panicked { .. })), "{result:?}");
            assert_eq!(within(store.one()).await.unwrap(), 1, "after {result:?}");
        }
        end(store).await;
        assert!(10 * fine > all, "only {fine} of {all} did anything");
    });
}

type Running = (Arc<Store>, TempDir);

async fn begin() -> Running {
    let directory = TempDir::new().unwrap();
    let config = Config::new(directory.path()).durability(Durability::Off);
    (Store::create(config).await.unwrap(), directory)
}

/// It closes as ever, and the file is sound. (A connection that has been there for long is not asked: FTS5 compares
/// with what it remembers.)
async fn end(running: Option<Running>) {
    let Some((store, directory)) = running else {
        return;
    };
    within(store.close()).await.unwrap();
    assert_eq!(names(directory.path()), ["database.db"]);
    let db = rusqlite::Connection::open(directory.path().join("database.db")).unwrap();
    let faults = db.query_row("PRAGMA integrity_check", (), |row| row.get::<_, String>(0));
    assert_eq!(faults.unwrap(), "ok");
}
