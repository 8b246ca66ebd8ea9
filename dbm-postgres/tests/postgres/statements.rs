//! Statements and values on a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::proxy::Proxy;
use crate::support::{Database, shared};
use crate::within;
use dbm_core::prelude::*;
use dbm_core::{BoundParams, Params, Value};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TYPE mood AS ENUM ('happy', 'sad');
             CREATE TABLE parent (id bigint PRIMARY KEY);
             CREATE TABLE every (
                 i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, t text, b bytea, yes bool,
                 at timestamptz, day date, j json, jb jsonb, u uuid, m mood, v varchar(5), of bigint REFERENCES parent
             );
             CREATE FUNCTION one() RETURNS int BEGIN ATOMIC SELECT 1; END;",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn write(
        &self,
        db: &mut WriteTransaction,
        sql: &str,
        given: BoundParams,
    ) -> Result<usize> {
        db.execute(sql, given).await
    }

    #[database_safe]
    async fn read(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
        given: BoundParams,
    ) -> Result<Vec<Value>> {
        db.query(sql, given).await
    }

    #[database_safe]
    async fn add_texts(&self, db: &mut WriteTransaction, texts: Vec<&str>) -> Result<usize> {
        let rows = texts.into_iter().map(|text| (text,));
        db.execute_many("INSERT INTO every (t) VALUES (?1)", rows)
            .await
    }

    #[database_safe]
    async fn many(&self, db: &mut WriteTransaction, ids: Vec<i64>) -> Result<usize> {
        let rows = ids.into_iter().map(|id| (id,));
        // What fails is undone by itself.
        let _ = db
            .execute_many("INSERT INTO parent VALUES (?1)", [(-1,), (-1,)])
            .await
            .unwrap_err();
        db.execute_many("INSERT INTO parent VALUES (?1)", rows)
            .await
    }

    #[database_safe]
    async fn stream(&self, db: &mut ReadTransaction, take: usize) -> Result<(i64, i64)> {
        let sql = "SELECT n, repeat('x', 1000) FROM generate_series(1, 2000) AS n";
        let mut rows = db.stream::<(i64, String)>(sql, ());
        let mut sum = 0;
        for _ in 0..take {
            match rows.next().await? {
                Some((number, _)) => sum += number,
                None => break,
            }
        }
        drop(rows);
        Ok((sum, db.query_one("SELECT 7", ()).await?))
    }

    /// Goes on after an error, as if nothing had happened.
    #[database_safe]
    async fn swallow(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO parent VALUES (100)", ()).await?;
        let _ = db.execute("INSERT INTO parent VALUES (100)", ()).await;
        Ok(())
    }

    /// Ends once others wait for its transaction.
    #[database_safe]
    async fn set_local(
        &self,
        db: &mut WriteTransaction,
        sql: &str,
        entered: &Notify,
        go: &Notify,
    ) -> Result<()> {
        db.execute_batch(sql).await?;
        entered.notify_one();
        go.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn settings(&self, db: &mut WriteTransaction) -> Result<(String, String, bool)> {
        db.query_one(
            "SELECT current_setting('search_path'), current_setting('work_mem'), to_regclass('pg_temp.mine') IS NULL",
            (),
        )
        .await
    }

    /// Whatever columns there are.
    #[database_safe]
    async fn all(&self, db: &mut ReadTransaction) -> Result<Vec<BTreeMap<String, i64>>> {
        db.query("SELECT * FROM parent", ()).await
    }

    #[database_safe]
    async fn temporary(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute_batch("CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (1)")
            .await?;
        db.query_one("SELECT count(*) FROM mine", ()).await
    }

    #[database_safe]
    async fn vacuum(&self, db: &mut Connection, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }
}

async fn store(database: &Database<'_>) -> Arc<Store> {
    Store::create(dbm_postgres::config(&database.description()).unwrap())
        .await
        .unwrap()
}

fn one(value: impl Into<Value>) -> BoundParams {
    (value.into(),).into_params().unwrap()
}

fn none() -> BoundParams {
    ().into_params().unwrap()
}

#[tokio::test]
async fn a_value_is_read_as_it_was_written_or_refused() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    let same: [(&str, Value); 20] = [
        ("i2", Value::Integer(-32_768)),
        ("i4", Value::Integer(i32::MAX.into())),
        ("i8", Value::Integer(i64::MIN)),
        ("f4", Value::Real(0.5)),
        ("f8", Value::Real(0.1)),
        ("f8", Value::Real(f64::INFINITY)),
        ("n", Value::Real(-1234.5678)),
        ("n", Value::Integer(1_000_000)),
        ("t", Value::from("ünï 'quoted' \\ \u{1F980}")),
        ("t", Value::from("")),
        ("b", Value::from(vec![0_u8, 255, 1])),
        ("yes", Value::Integer(1)),
        ("at", Value::from("2026-01-31 11:00:00.500000")),
        ("at", Value::from("0001-01-01 00:00:00.000000")),
        ("day", Value::from("2024-02-29")),
        ("j", Value::from("{\"a\":  1}")),
        ("jb", Value::from("{\"a\": 1}")),
        ("u", Value::from("936da01f-9abd-4d9d-80c7-02af85c822a8")),
        ("m", Value::from("sad")),
        ("v", Value::Null),
    ];
    for (column, value) in same {
        store.write("DELETE FROM every", none()).await.unwrap();
        let insert = format!("INSERT INTO every ({column}) VALUES (?1)");
        store.write(&insert, one(value.clone())).await.unwrap();
        let read = store
            .read(&format!("SELECT {column} FROM every"), none())
            .await
            .unwrap();
        assert_eq!(read, [value], "{column}");
    }
    let refused: [(&str, Value); 9] = [
        ("i2", Value::Integer(32_768)),
        ("i4", Value::Integer(1 << 31)),
        ("f4", Value::Real(0.1)),
        ("yes", Value::Integer(2)),
        ("b", Value::from("\\x00")),
        ("t", Value::from("a\0b")),
        ("t", Value::from(vec![1_u8])),
        ("at", Value::Integer(1)),
        ("j", Value::Integer(1)),
    ];
    for (column, value) in refused {
        let insert = format!("INSERT INTO every ({column}) VALUES (?1)");
        let error = store.write(&insert, one(value.clone())).await.unwrap_err();
        assert!(
            matches!(error, Error::Parameter { .. }),
            "{column} {value:?}: {error}"
        );
        assert!(error.to_string().contains("?1"), "{error}");
    }
    let sum = "SELECT sum(n) FROM (VALUES (9000000000::bigint), (1)) AS a (n)";
    assert_eq!(
        store.read(sum, none()).await.unwrap(),
        [Value::Integer(9_000_000_001)]
    );
    for lossy in [
        "SELECT 1::numeric / 3",
        "SELECT 'NaN'::float8",
        "SELECT ARRAY[1]",
        "SELECT 'infinity'::date",
    ] {
        let error = store.read(lossy, none()).await.unwrap_err();
        assert!(matches!(error, Error::Column { .. }), "{lossy}: {error}");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn errors_are_told_without_values_and_can_be_told_apart() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    let insert = "INSERT INTO every (of) VALUES (?1)";
    let error = store.write(insert, one(4711)).await.unwrap_err();
    assert!(error.is_foreign_key_violation(), "{error}");
    assert!(
        error.to_string().contains("every_of_fkey") && !error.to_string().contains("4711"),
        "{error}"
    );

    for (sql, value) in [
        ("INSERT INTO every (u) VALUES (?1)", "s3cret"),
        (
            "INSERT INTO every (i4) VALUES (cast(?1 AS text)::int)",
            "s3cret",
        ),
        ("INSERT INTO every (m) VALUES (?1)", "s3cret"),
        ("INSERT INTO every (v) VALUES (?1)", "s3cret"),
        ("SELECT 's3cret' 's3cret', ?1", "s3cret"),
        ("SELECT 's3cret'::int, ?1::text", "x"),
    ] {
        let error = store.write(sql, one(value)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, Error::Server { .. }), "{sql}: {error}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let error = store
        .write("SELECT nothing FROM every", none())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
    for (sql, why) in [
        ("COMMIT", "transaction control"),
        ("; /* */ rollback to x", "transaction control"),
        ("SET work_mem = '1MB'", "SET LOCAL"),
        ("COPY parent FROM STDIN", "execute_many"),
        ("COPY parent TO STDOUT", "stream"),
    ] {
        let error = store.write(sql, none()).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{sql}: {error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    for sql in ["", " -- nothing", "SELECT 1; SELECT 2"] {
        let error = store.write(sql, none()).await.unwrap_err();
        assert!(matches!(error, Error::SqlText { .. }), "{sql}: {error}");
    }
    let error = store.write("SELECT ?1, ?2", one(1)).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ParameterCount {
                expected: 2,
                given: 1
            }
        ),
        "{error}"
    );
    let error = store.read("DELETE FROM every", none()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused {
                what: "a write",
                ..
            }
        ),
        "{error}"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn many_rows_go_in_at_once_and_come_out_as_a_stream() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    assert_eq!(store.many((0..1_000).collect()).await.unwrap(), 1_000);
    let error = store.many(vec![2_000, 2_001, 5, 2_002]).await.unwrap_err();
    assert!(matches!(error, Error::Row { index: 2, .. }), "{error}");
    assert_eq!(database.ask("SELECT count(*) FROM parent"), "1000");
    assert_eq!(store.stream(5_000).await.unwrap(), (2_001_000, 7));
    assert_eq!(store.stream(3).await.unwrap(), (6, 7));
    assert_eq!(
        store
            .write("DELETE FROM parent WHERE id < ?1", one(10))
            .await
            .unwrap(),
        10
    );
    assert_eq!(
        store.write("SELECT * FROM parent", none()).await.unwrap(),
        0
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_body_that_swallows_an_error_has_lost_its_transaction() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    let error = store.swallow().await.unwrap_err();
    assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
    assert_eq!(database.ask("SELECT count(*) FROM parent"), "0");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_call_leaves_in_a_connection_no_other_call_finds() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    assert_eq!(store.temporary().await.unwrap(), 1);
    assert_eq!(store.temporary().await.unwrap(), 1);
    store
        .write("DO $$ BEGIN SET search_path TO pg_catalog; END $$", none())
        .await
        .unwrap();
    assert_eq!(store.settings().await.unwrap().0, "public");
    store
        .vacuum("VACUUM every; SET work_mem = '64kB'; CREATE INDEX CONCURRENTLY i ON every (i2)")
        .await
        .unwrap();
    for _ in 0..3 {
        let settings = store
            .read("SELECT current_setting('work_mem')", none())
            .await
            .unwrap();
        assert_ne!(settings, [Value::from("64kB")]);
    }
    let error = store
        .vacuum("BEGIN; INSERT INTO parent VALUES (1)")
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TransactionLeftOpen { .. }),
        "{error}"
    );
    assert_eq!(database.ask("SELECT count(*) FROM parent"), "0");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_call_sets_until_its_transaction_ends_no_other_call_finds() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    let as_ever = store.settings().await.unwrap();
    for sql in [
        "SET LOCAL search_path TO pg_catalog",
        "SET LOCAL work_mem = '64kB'",
        "SELECT set_config('work_mem', '64kB', true)",
        "CREATE TEMP TABLE mine (a int)",
    ] {
        let (entered, go) = (Notify::new(), Notify::new());
        let first = store.set_local(sql, &entered, &go);
        let second = async {
            entered.notified().await;
            // The first poll takes a place in the queue.
            let mut second = Box::pin(store.settings());
            assert!((&mut second).now_or_never().is_none());
            go.notify_one();
            second.await
        };
        let (first, second) = within(async { tokio::join!(first, second) }).await;
        first.unwrap();
        assert_eq!(second.unwrap(), as_ever, "{sql}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_when_another_process_has_changed_its_table() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    store.many(vec![1]).await.unwrap();
    assert_eq!(store.all().await.unwrap()[0].len(), 1);
    database.ask("ALTER TABLE parent ADD COLUMN more bigint NOT NULL DEFAULT 2");
    assert_eq!(store.all().await.unwrap()[0]["more"], 2);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_raises_is_known_by_its_state() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = store(&database).await;
    database.ask(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no %', NEW.id USING ERRCODE = 'AB123'; END $$; \
         CREATE TRIGGER refuses BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let error = store
        .write("INSERT INTO parent VALUES (?1)", one(4711))
        .await
        .unwrap_err();
    assert_eq!(error.server_state(), Some("AB123"));
    assert!(!error.to_string().contains("4711"), "{error}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_rows_of_execute_many_and_its_savepoint_are_one_round_trip() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let proxy = Proxy::start(server.directory(), None);
        let config = dbm_postgres::config(&database.behind(proxy.directory())).unwrap();
        let store = Store::create(config).await.unwrap();
        // The statement is known from here on.
        store.add_texts(vec!["a"]).await.unwrap();
        proxy.hold_answers("SAVEPOINT _dbm_", "the last row");
        let added = store.add_texts(vec!["b", "c", "the last row"]).await;
        assert_eq!(added.unwrap(), 3);
        assert_eq!(database.ask("SELECT count(*) FROM every"), "4");
        store.close().await.unwrap();
    })
    .await;
}
