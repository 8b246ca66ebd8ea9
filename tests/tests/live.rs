//! Live reads: what wakes them, what does not, and that no value is old.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, Live, Value, rusqlite};
use dbm_tests::{
    Child, Moment, cut, eventually, open_files, poll_once, run, run_on_one_thread, watch, within,
};
use tokio::sync::Semaphore;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL, tag TEXT UNIQUE);
             CREATE TABLE child (id INTEGER PRIMARY KEY, note INTEGER REFERENCES note ON DELETE CASCADE ON UPDATE CASCADE);
             CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
             CREATE TABLE plain (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;
             CREATE TABLE other (id INTEGER PRIMARY KEY, n INTEGER);
             CREATE TABLE barrier (n INTEGER);
             CREATE TABLE source (id INTEGER PRIMARY KEY, text TEXT);
             CREATE TRIGGER logged AFTER INSERT ON note WHEN new.text = 'logged' BEGIN INSERT INTO log (what) VALUES (new.text); END;
             CREATE VIEW seen AS SELECT text FROM note WHERE id > 0;
             CREATE TRIGGER through INSTEAD OF INSERT ON seen BEGIN INSERT INTO other (n) VALUES (7); END;
             CREATE VIRTUAL TABLE words USING fts5(text);
             CREATE VIRTUAL TABLE shown USING fts5(text, content='source', content_rowid='id');
             CREATE VIRTUAL TABLE vocabulary USING fts5vocab('words', 'row');
             CREATE VIRTUAL TABLE box USING rtree(id, x0, x1);
             INSERT INTO note VALUES (1, 'one', 'a'), (2, 'two', 'b');
             INSERT INTO child VALUES (1, 1), (2, 2);
             INSERT INTO plain VALUES ('a', 1);
             INSERT INTO other VALUES (1, 1);
             INSERT INTO source VALUES (1, 'hello');
             INSERT INTO words VALUES ('hello world');",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction, sql: &str) -> Result<String> {
        let rows: Vec<(Value,)> = db.query(sql, ()).await?;
        Ok(format!("{rows:?}"))
    }

    #[database_safe]
    async fn number(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute(sql, ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn script(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn bare(&self, db: &mut Connection, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn closure(&self, db: &mut WriteTransaction, sql: &'static str) -> Result<()> {
        db.call(move |connection| Ok(connection.execute_batch(sql)?))
            .await
    }

    #[database_safe]
    async fn read_by_closure(&self, db: &mut ReadTransaction, sql: &'static str) -> Result<i64> {
        db.call(move |connection| Ok(connection.query_row(sql, (), |row| row.get(0))?))
            .await
    }

    /// The inner call fails, and is forgiven.
    #[database_safe]
    async fn undone(&self, _db: &mut WriteTransaction, sql: &str) -> Result<()> {
        assert!(self.write_and_fail(sql).await.is_err());
        Ok(())
    }

    #[database_safe]
    async fn write_and_fail(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute(sql, ()).await?;
        Err(Error::other("as it should"))
    }
}

async fn open() -> (Arc<Store>, tempfile::TempDir) {
    open_with(Execution::Auto).await
}

async fn open_with(execution: Execution) -> (Arc<Store>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path()).execution(execution);
    let store = Store::create(config).await.unwrap();
    (store, directory)
}

fn numbers(store: &Arc<Store>, sql: &'static str) -> Live<Result<i64>> {
    store.live(move |store| async move { store.number(sql).await })
}

/// Comes back when all commits so far have been told of: they are told in order.
async fn told(store: &Arc<Store>) {
    let mut barrier = numbers(store, "SELECT count(*) FROM barrier");
    within(barrier.next()).await.unwrap().unwrap();
    store.write("INSERT INTO barrier VALUES (1)").await.unwrap();
    within(barrier.next()).await.unwrap().unwrap();
}

async fn is_quiet<R: 'static>(live: &mut Live<R>) -> bool {
    poll_once(&mut Box::pin(live.next())).await.is_pending()
}

/// Reads, what is written, and whether that concerns them.
const KINDS: &[(&str, &str, bool)] = &[
    (
        "SELECT count(*) FROM note",
        "INSERT INTO note (text) VALUES ('x')",
        true,
    ),
    (
        "SELECT count(*) FROM NOTE",
        "INSERT INTO Note (text) VALUES ('x')",
        true,
    ),
    (
        "SELECT count(*) FROM note",
        "INSERT INTO source (text) VALUES ('x')",
        false,
    ),
    (
        "SELECT text FROM seen",
        "UPDATE note SET text = 'y' WHERE id = 1",
        true,
    ),
    (
        "SELECT what FROM log",
        "INSERT INTO note (text) VALUES ('logged')",
        true,
    ),
    (
        "SELECT count(*) FROM child",
        "DELETE FROM note WHERE id = 2",
        true,
    ),
    (
        "SELECT note FROM child",
        "UPDATE note SET id = 9 WHERE id = 1",
        true,
    ),
    (
        "SELECT v FROM plain",
        "REPLACE INTO plain VALUES ('a', 5)",
        true,
    ),
    (
        "SELECT v FROM plain",
        "UPDATE plain SET v = 6 WHERE k = 'a'",
        true,
    ),
    ("SELECT v FROM plain", "DELETE FROM plain", true),
    (
        "SELECT count(*) FROM note",
        "UPDATE OR REPLACE note SET tag = 'b' WHERE tag = 'a'",
        true,
    ),
    (
        "SELECT count(*) FROM child",
        "REPLACE INTO note VALUES (9, 'nine', 'a')",
        true,
    ),
    (
        "SELECT v FROM plain",
        "INSERT INTO plain VALUES ('a', 1) ON CONFLICT DO UPDATE SET v = v + 1",
        true,
    ),
    ("SELECT count(*) FROM note", "DELETE FROM note", true),
    (
        "SELECT n FROM other ORDER BY id DESC",
        "INSERT INTO seen VALUES ('z')",
        true,
    ),
    (
        "SELECT seq FROM sqlite_sequence",
        "INSERT INTO log (what) VALUES ('x')",
        true,
    ),
    (
        "SELECT text FROM words WHERE words MATCH 'hello'",
        "INSERT INTO words VALUES ('hello again')",
        true,
    ),
    (
        "SELECT text FROM words WHERE words MATCH 'hello'",
        "INSERT INTO source (text) VALUES ('x')",
        false,
    ),
    (
        "SELECT text FROM words WHERE words MATCH 'hello'",
        "DELETE FROM words WHERE rowid = 1",
        true,
    ),
    (
        "SELECT text FROM shown WHERE rowid = 1",
        "UPDATE source SET text = 'bye' WHERE id = 1",
        true,
    ),
    (
        "SELECT count(*) FROM vocabulary",
        "INSERT INTO words VALUES ('quite new words')",
        true,
    ),
    (
        "SELECT count(*) FROM box",
        "INSERT INTO box VALUES (1, 0.0, 1.0)",
        true,
    ),
    (
        "SELECT count(*) FROM json_each('[1, 2]')",
        "INSERT INTO source (text) VALUES ('x')",
        false,
    ),
    (
        "SELECT name FROM pragma_table_info('note')",
        "INSERT INTO source (text) VALUES ('x')",
        true,
    ),
    ("PRAGMA user_version", "PRAGMA user_version = 5", true),
    (
        "SELECT (SELECT count(*) FROM source) + id FROM other",
        "INSERT INTO source (text) VALUES ('x')",
        true,
    ),
    (
        "WITH t AS (SELECT id FROM source) SELECT count(*) FROM t",
        "DELETE FROM source",
        true,
    ),
    (
        "SELECT count(*) FROM note",
        "CREATE TABLE another (id INTEGER PRIMARY KEY)",
        true,
    ),
    (
        "SELECT count(*) FROM note",
        "ALTER TABLE note ADD COLUMN more TEXT",
        true,
    ),
    (
        "SELECT v FROM plain",
        "UPDATE plain SET v = 7 WHERE k = 'there is none'",
        false,
    ),
];

/// Once with statements that are new to the connections, and once with statements that they have kept.
#[test]
fn a_read_of_any_kind_of_table_is_woken_by_what_changes_it() {
    run(async {
        for (read, write, concerns) in KINDS {
            for (warm, execution) in [
                (false, Execution::Auto),
                (true, Execution::Auto),
                (true, Execution::Inline),
            ] {
                let (store, _directory) = open_with(execution).await;
                if warm {
                    let _ = store.read(read).await.unwrap();
                    store.undone(write).await.unwrap();
                }
                let reads = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&reads);
                let mut live = store.live(move |store| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    async move { store.read(read).await }
                });
                let before = within(live.next()).await.unwrap().unwrap();
                store.write(write).await.unwrap();
                told(&store).await;
                let now = store.read(read).await.unwrap();
                if *concerns {
                    assert_eq!(within(live.next()).await.unwrap().unwrap(), now);
                } else {
                    assert!(is_quiet(&mut live).await);
                    assert_eq!(reads.load(Ordering::Relaxed), 1, "{read} | {write}, {warm}");
                    assert_eq!(before, now);
                }
                drop(live);
                store.close().await.unwrap();
            }
        }
    });
}

#[test]
fn what_can_write_anything_wakes_every_live_read() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        within(live.next()).await.unwrap().unwrap();
        store
            .closure("INSERT INTO other (n) VALUES (3)")
            .await
            .unwrap();
        within(live.next()).await.unwrap().unwrap();
        store
            .bare("INSERT INTO other (n) VALUES (4)")
            .await
            .unwrap();
        within(live.next()).await.unwrap().unwrap();
        store
            .script("CREATE TABLE later (n INTEGER); INSERT INTO later VALUES (1)")
            .await
            .unwrap();
        within(live.next()).await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_read_that_may_read_anything_is_woken_by_every_commit() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = store
            .live(|store| async move { store.read_by_closure("SELECT count(*) FROM plain").await });
        within(live.next()).await.unwrap().unwrap();
        store
            .write("INSERT INTO other (n) VALUES (3)")
            .await
            .unwrap();
        within(live.next()).await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn what_is_undone_wakes_nobody() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        within(live.next()).await.unwrap().unwrap();
        store.undone("DELETE FROM plain").await.unwrap();
        store.write_and_fail("DELETE FROM plain").await.unwrap_err();
        told(&store).await;
        assert!(is_quiet(&mut live).await);
        store.close().await.unwrap();
    });
}

static GO_ON: Semaphore = Semaphore::const_new(0);
static BEGAN: Semaphore = Semaphore::const_new(0);

impl Store {
    #[database_safe]
    async fn slowly(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO plain VALUES ('slow', 1)", ())
            .await?;
        BEGAN.add_permits(1);
        GO_ON.acquire().await.map_err(Error::other)?.forget();
        Ok(())
    }
}

/// The statements of the transaction that is under way were not recorded.
#[test]
fn a_transaction_that_began_before_the_first_live_read_wakes_it() {
    run(async {
        let (store, _directory) = open().await;
        let this = Arc::clone(&store);
        let slow = tokio::spawn(async move { this.slowly().await });
        within(BEGAN.acquire()).await.unwrap().forget();
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 1);
        GO_ON.add_permits(1);
        within(slow).await.unwrap().unwrap();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 2);
        store.close().await.unwrap();
    });
}

async fn last_value_is_never_old(readers: usize) {
    let (store, _directory) = open().await;
    let reads: Vec<_> = (0..readers)
        .map(|number| {
            let mut live = numbers(&store, "SELECT max(n) FROM other");
            if number % 3 == 0 {
                live = live.distinct();
            }
            tokio::spawn(async move {
                let mut values = Vec::new();
                while values.last() != Some(&500) {
                    values.push(live.next().await.unwrap().unwrap());
                }
                values
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 1..=125 {
                    let sql = format!("INSERT INTO other (n) VALUES ({})", n * 4 - writer);
                    store.write(&sql).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        within(writer).await.unwrap();
    }
    for read in reads {
        let values = within(read).await.unwrap();
        assert!(values.is_sorted(), "never an older state: {values:?}");
    }
    store.close().await.unwrap();
}

#[test]
fn the_last_value_is_never_an_old_one() {
    run(last_value_is_never_old(20));
}

#[test]
fn the_last_value_is_never_an_old_one_on_one_thread() {
    run_on_one_thread(last_value_is_never_old(5));
}

#[test]
fn a_thousand_live_reads_are_all_woken() {
    run(last_value_is_never_old(1_000));
}

#[test]
fn asking_for_a_value_may_be_dropped_at_every_await_point() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        for moment in Moment::ALL {
            for at in 1..30 {
                let value = cut(at, moment, live.next()).await;
                drop(value);
                store.write("UPDATE plain SET v = v + 1").await.unwrap();
            }
        }
        store.write("DELETE FROM plain").await.unwrap();
        while within(live.next()).await.unwrap().unwrap() != 0 {}
        store.close().await.unwrap();
    });
}

#[test]
fn between_values_it_keeps_neither_the_manager_nor_a_connection() {
    run(async {
        let (store, directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        within(live.next()).await.unwrap().unwrap();
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        assert!(within(live.next()).await.is_none());
        assert!(within(live.next()).await.is_none());
        eventually(|| open_files(directory.path()).is_empty()).await;
    });
}

#[test]
fn it_ends_with_close_while_somebody_waits_for_a_value() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain");
        within(live.next()).await.unwrap().unwrap();
        let waits = tokio::spawn(async move { live.next().await.is_none() });
        store.close().await.unwrap();
        assert!(within(waits).await.unwrap());
    });
}

#[test]
fn a_failed_start_is_a_value_and_then_the_end() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("database.db"),
            "this is not a database",
        )
        .unwrap();
        let store = Store::start(Config::new(directory.path()));
        let mut live = numbers(&store, "SELECT 1");
        assert!(matches!(
            within(live.next()).await,
            Some(Err(Error::Failed { .. }))
        ));
        assert!(within(live.next()).await.is_none());
    });
}

#[test]
fn an_error_is_a_value_and_not_the_end() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM later");
        assert!(within(live.next()).await.unwrap().is_err());
        store
            .script("CREATE TABLE later (n INTEGER)")
            .await
            .unwrap();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 0);
        store.close().await.unwrap();
    });
}

#[test]
fn a_write_in_it_is_refused() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = store.live(|store| async move { store.write("DELETE FROM plain").await });
        assert!(matches!(
            within(live.next()).await,
            Some(Err(Error::Refused { .. }))
        ));
        let mut live = store.live(|store| async move { store.bare("DELETE FROM plain").await });
        assert!(matches!(
            within(live.next()).await,
            Some(Err(Error::Refused { .. }))
        ));
        assert_eq!(store.number("SELECT count(*) FROM plain").await.unwrap(), 1);
        store.close().await.unwrap();
    });
}

#[test]
fn distinct_leaves_out_what_has_not_changed() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = numbers(&store, "SELECT count(*) FROM plain").distinct();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 1);
        store.write("UPDATE plain SET v = v + 1").await.unwrap();
        told(&store).await;
        assert!(is_quiet(&mut live).await);
        store
            .write("INSERT INTO plain VALUES ('b', 1)")
            .await
            .unwrap();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 2);
        store.close().await.unwrap();
    });
}

/// Fails whenever the table is empty.
#[test]
fn distinct_leaves_out_no_error_and_no_value_after_one() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = store
            .live(|store| async move {
                match store.number("SELECT count(*) FROM plain").await? {
                    0 => Err(Error::other("as it should")),
                    count => Ok(count),
                }
            })
            .distinct();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 1);
        for _ in 0..2 {
            store.write("DELETE FROM plain").await.unwrap();
            store
                .script("INSERT INTO plain VALUES ('a', 1); DELETE FROM plain")
                .await
                .unwrap();
            while within(live.next()).await.unwrap().is_ok() {}
            store
                .script("INSERT INTO plain VALUES ('a', 1); DELETE FROM plain")
                .await
                .unwrap();
            assert!(within(live.next()).await.unwrap().is_err());
        }
        store
            .write("INSERT INTO plain VALUES ('a', 1)")
            .await
            .unwrap();
        while within(live.next()).await.unwrap().is_err() {}
        told(&store).await;
        store.close().await.unwrap();
    });
}

impl Store {
    /// The first rows of more than are handed over at once.
    #[database_safe]
    async fn first_of_many(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000)
             SELECT x + (SELECT max(n) FROM other) FROM n";
        let mut rows = db.stream::<i64>(sql, ());
        let mut first = Vec::new();
        while first.len() < 3 {
            first.extend(rows.next().await?);
        }
        Ok(first)
    }
}

#[test]
fn a_read_that_drops_a_stream_half_way_is_woken() {
    run(async {
        let (store, _directory) = open().await;
        let mut live = store.live(|store| async move { store.first_of_many().await });
        assert_eq!(within(live.next()).await.unwrap().unwrap(), [2, 3, 4]);
        for n in 10..20 {
            store
                .write(&format!("UPDATE other SET n = {n}"))
                .await
                .unwrap();
            let first = within(live.next()).await.unwrap().unwrap();
            assert_eq!(first, [n + 1, n + 2, n + 3]);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn what_is_committed_during_a_pause_is_in_one_value() {
    run(async {
        let (store, _directory) = open().await;
        let mut live =
            numbers(&store, "SELECT count(*) FROM other").at_most_every(Duration::from_millis(200));
        let mut values = BTreeSet::from([within(live.next()).await.unwrap().unwrap()]);
        for _ in 0..50 {
            store
                .write("INSERT INTO other (n) VALUES (1)")
                .await
                .unwrap();
            assert!(is_quiet(&mut live).await || values.len() == 1);
        }
        while values.last() != Some(&51) {
            values.insert(within(live.next()).await.unwrap().unwrap());
        }
        assert!(values.len() < 50, "{values:?}");
        store.close().await.unwrap();
    });
}

#[test]
fn another_process_wakes_it_if_asked_to() {
    run(async {
        let (store, _directory) = open().await;
        let count = "SELECT count(*) FROM other";
        let mut live = numbers(&store, count)
            .other_processes(Duration::from_millis(5))
            .distinct();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), 1);
        let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
        for n in 2..20 {
            other
                .execute("INSERT INTO other (n) VALUES (1)", ())
                .unwrap();
            assert_eq!(within(live.next()).await.unwrap().unwrap(), n);
        }
        drop(other);
        drop(live);
        store.close().await.unwrap();
    });
}

#[test]
fn a_real_process_wakes_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    watch(move || {
        let mut child = Child::start(env!("CARGO_BIN_EXE_child"));
        let start = format!("start {} 1.0.0", path.display());
        assert!(child.ask(&start).starts_with("running"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = dbm_tests::Store::open(&path, "1.0.0").await.unwrap();
            let ids = |store: Arc<dbm_tests::Store>| async move { store.ids().await };
            let mut live = store
                .live(ids)
                .other_processes(Duration::from_millis(5))
                .distinct();
            let mut expected = within(live.next()).await.unwrap().unwrap();
            for id in 100..110 {
                assert_eq!(child.ask(&format!("add {id} 10")), "added");
                expected.push(id);
                assert_eq!(within(live.next()).await.unwrap().unwrap(), expected);
            }
            store.close().await.unwrap();
        });
        assert_eq!(child.ask("close"), "stopped");
    });
}

#[test]
fn a_panic_in_it_reaches_who_asked_and_ends_it() {
    run(async {
        let (store, _directory) = open().await;
        let mut live: Live<i64> = store.live(|_| async { panic!("as it should") });
        let asked = tokio::spawn(async move {
            let panicked = std::panic::AssertUnwindSafe(live.next());
            let panicked = futures_util::FutureExt::catch_unwind(panicked)
                .await
                .is_err();
            (panicked, live.next().await)
        });
        assert_eq!(within(asked).await.unwrap(), (true, None));
        store.write("DELETE FROM plain").await.unwrap();
        store.close().await.unwrap();
    });
}
