//! What a call promises, on PostgreSQL: its rows, its end in every way, nesting, streams, promises, jobs and live reads.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Database, LIMIT, shared};
use crate::within;
use dbm_core::prelude::*;
use dbm_core::{Durability, SchemaDrift, Status};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    entered: Notify,
    news: Option<mpsc::UnboundedSender<String>>,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE note (id bigint PRIMARY KEY, text text NOT NULL)")
            .await?;
        self.first(db).await
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Note {
    id: u64,
    text: String,
}

impl Store {
    async fn first(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO note VALUES (0, 'first')", ())
            .await
            .map(drop)
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, id: i64, text: &str) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1, ?2)", (id, text))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn notes(&self, db: &mut ReadTransaction) -> Result<Vec<Note>> {
        db.query("SELECT id, text FROM note ORDER BY id", ()).await
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM note", ()).await
    }

    #[database_safe]
    async fn add_all(&self, db: &mut WriteTransaction, ids: Vec<i64>) -> Result<Option<Error>> {
        let rows = ids.iter().map(|id| (*id, "many"));
        let many = db
            .execute_many("INSERT INTO note VALUES (?1, ?2)", rows)
            .await;
        // The transaction can go on, whatever became of the rows.
        db.execute("INSERT INTO note VALUES (1000000, 'after')", ())
            .await?;
        Ok(many.err())
    }

    #[database_safe]
    async fn sum_by_stream(&self, db: &mut WriteTransaction, most: usize) -> Result<(u64, u64)> {
        let mut numbers =
            db.stream::<u64>("SELECT n::bigint FROM generate_series(1, 200000) AS n", ());
        let (mut sum, mut taken) = (0, 0);
        while taken < most
            && let Some(number) = numbers.next().await?
        {
            (sum, taken) = (sum + number, taken + 1);
        }
        drop(numbers);
        Ok((sum, db.query_one("SELECT count(*) FROM note", ()).await?))
    }

    #[database_safe]
    async fn swallow(&self, db: &mut WriteTransaction) -> Result<()> {
        let _ = db.execute("INSERT INTO note VALUES (0, 'again')", ()).await;
        Ok(())
    }

    #[database_safe]
    async fn swallow_inside(&self, db: &mut WriteTransaction) -> Result<Option<Error>> {
        let inner = self.swallow().await;
        db.execute("INSERT INTO note VALUES (7, 'outer')", ())
            .await?;
        Ok(inner.err())
    }

    #[database_safe]
    async fn drop_inside(&self, db: &mut WriteTransaction) -> Result<()> {
        {
            let mut inner = Box::pin(self.add_and_wait(8));
            tokio::select! {
                _ = &mut inner => {}
                () = self.entered.notified() => {}
            }
        }
        db.execute("INSERT INTO note VALUES (9, 'outer')", ())
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn add_and_wait(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1, 'waits')", (id,))
            .await?;
        self.entered.notify_one();
        pending().await
    }

    #[database_safe(timeout = "200ms")]
    async fn sleep_too_long(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO note VALUES (5, 'late')", ())
            .await?;
        let _: Vec<String> = db.query("SELECT pg_sleep(30)::text", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_with_exception]
    async fn panics(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO note VALUES (6, 'lost')", ())
            .await?;
        panic!("on purpose")
    }

    #[database_safe]
    async fn bare(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.call(|_| Ok(1)).await
    }

    #[database_safe]
    async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM note").await
    }

    #[database_safe]
    async fn tell(&self, db: &mut WriteTransaction, id: i64, fail: bool) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1, 'told')", (id,))
            .await?;
        let news = self.news.clone();
        db.after_commit(async move {
            if let Some(news) = news {
                let _ = news.send(format!("{id} is new"));
            }
        })?;
        if fail {
            Err(Error::other("no"))
        } else {
            Ok(())
        }
    }
}

async fn store_with(
    database: &Database<'_>,
    news: Option<mpsc::UnboundedSender<String>>,
) -> Arc<Store> {
    let config = dbm_postgres::config(&database.description()).unwrap();
    Store::create_with(config, |core| Store {
        core,
        entered: Notify::new(),
        news,
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn rows_are_read_as_from_a_file() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        store.add(1, "one").await.unwrap();
        let (first, one) = (
            Note {
                id: 0,
                text: "first".into(),
            },
            Note {
                id: 1,
                text: "one".into(),
            },
        );
        assert_eq!(store.notes().await.unwrap(), [first, one]);
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        store.close().await.unwrap();
        assert_eq!(store.status(), Status::Stopped);
        assert!(matches!(store.count().await, Err(Error::Closed { .. })));
    })
    .await;
}

#[tokio::test]
async fn many_rows_are_all_kept_or_none() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        let wrong = (1..=600).chain([300]).chain(601..=700).collect();
        match store.add_all(wrong).await.unwrap() {
            Some(Error::Row { index: 600, cause }) => {
                assert!(cause.downcast_ref::<Error>().unwrap().is_unique_violation());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.count().await.unwrap(), 2);
        assert!(
            store.add_all((1..=600).collect()).await.is_err(),
            "the row after them is there already"
        );
        assert_eq!(store.count().await.unwrap(), 2);
        store.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stream_has_all_rows_and_may_be_dropped_at_any_of_them() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        assert_eq!(
            store.sum_by_stream(usize::MAX).await.unwrap(),
            (20_000_100_000, 1)
        );
        for most in [0, 1, 5_000] {
            let sum = (most * (most + 1) / 2) as u64;
            assert_eq!(store.sum_by_stream(most).await.unwrap(), (sum, 1));
        }
        store.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_body_that_swallows_a_failed_statement_keeps_nothing() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        assert!(matches!(
            store.swallow().await,
            Err(Error::TransactionLost { .. })
        ));
        let inner = store.swallow_inside().await.unwrap();
        assert!(
            matches!(inner, Some(Error::TransactionLost { .. })),
            "{inner:?}"
        );
        assert_eq!(store.count().await.unwrap(), 2);
        store.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_nested_call_that_is_dropped_leaves_the_outer_one_as_it_was() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        store.drop_inside().await.unwrap();
        let ids: Vec<_> = store
            .notes()
            .await
            .unwrap()
            .iter()
            .map(|note| note.id)
            .collect();
        assert_eq!(ids, [0, 9]);
        store.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_late_or_panics_leaves_nothing() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        {
            let mut waits = Box::pin(store.add_and_wait(3));
            tokio::select! {
                _ = &mut waits => {}
                () = store.entered.notified() => {}
            }
        }
        assert!(matches!(store.sleep_too_long().await, Err(Error::Timeout { .. })));
        assert!(matches!(store.panics().await, Err(Error::Panicked { .. })));
        store.add(4, "four").await.unwrap();
        assert_eq!(store.count().await.unwrap(), 2);
        store.close().await.unwrap();
        assert_eq!(database.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"), "0");
    })
    .await;
}

#[tokio::test]
async fn close_within_ends_a_body_that_waits_for_something_else() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        let waits = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.add_and_wait(3).await }
        });
        store.entered.notified().await;
        // It waits for nothing that the body does: its transaction is taken from it.
        let close = store.close_within(Duration::from_millis(50));
        timeout(LIMIT / 20, close).await.expect("it hangs").unwrap();
        assert_eq!(store.status(), Status::Stopped);
        assert_eq!(database.ask("SELECT count(*) FROM note"), "1");
        waits.abort();
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_file_is_refused_in_one_sentence() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        for error in [
            store.bare().await.unwrap_err(),
            store.back_up("/nowhere").await.unwrap_err(),
            store.verify().await.unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("the database is on a server"),
                "{error}"
            );
        }
        assert_eq!(store.path(), None);
        store.vacuum().await.unwrap();
        store.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_setting_that_is_about_a_file_fails_the_start_by_its_name() {
    let config = || dbm_postgres::config("host=/nowhere user=nobody dbname=nothing").unwrap();
    for (name, config) in [
        ("db_name", config().db_name("x.db")),
        ("durability", config().durability(Durability::Normal)),
        ("readers", config().readers(7)),
        (
            "busy_timeout",
            config().busy_timeout(Duration::from_secs(1)),
        ),
        (
            "max_read_age",
            config().max_read_age(Duration::from_secs(1)),
        ),
        (
            "max_write_idle",
            config().max_write_idle(Duration::from_secs(1)),
        ),
        ("keep_backups", config().keep_backups(3)),
        ("private_files", config().private_files(true)),
        ("schema_drift", config().schema_drift(SchemaDrift::Error)),
        ("read_only", config().read_only()),
        ("hardened", config().hardened(false)),
        ("on_open", config().on_open(|_| Ok(()))),
        ("on_create", config().on_create(|_| Ok(()))),
    ] {
        let make = |core| Store {
            core,
            entered: Notify::new(),
            news: None,
        };
        match within(Store::create_with(config, make)).await.err() {
            Some(Error::Config { message }) => {
                assert!(message.contains(&format!("`{name}`")), "{message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_promised_runs_after_the_commit_and_never_without_one() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let (sender, mut news) = mpsc::unbounded_channel();
        let store = store_with(&database, Some(sender)).await;
        store.tell(1, false).await.unwrap();
        assert!(store.tell(2, true).await.is_err());
        assert!(store.tell(1, false).await.is_err(), "it is there already");
        store.tell(3, false).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        let mut heard = Vec::new();
        while let Some(text) = news.recv().await {
            heard.push(text);
        }
        assert_eq!(heard, ["1 is new", "3 is new"]);
    })
    .await;
}

#[tokio::test]
async fn a_live_read_is_made_again_after_each_commit() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let store = store_with(&database, None).await;
        let mut counts = store.live(|store| async move { store.count().await });
        assert_eq!(counts.next().await.transpose().unwrap(), Some(1));
        store.add(1, "one").await.unwrap();
        assert_eq!(counts.next().await.transpose().unwrap(), Some(2));
        store.close().await.unwrap();
        assert!(counts.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_live_read_that_looks_for_them_is_told_of_the_commits_of_others() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let (store, other) = (
            store_with(&database, None).await,
            store_with(&database, None).await,
        );
        let counts = store.live(|store| async move { store.count().await });
        let mut counts = counts.distinct().other_processes(Duration::from_millis(20));
        assert_eq!(counts.next().await.transpose().unwrap(), Some(1));
        for id in 1..4 {
            other.add(id, "more").await.unwrap();
            let count = counts.next().await.transpose().unwrap();
            assert_eq!(count, Some(id.unsigned_abs() + 1));
        }
        store.close().await.unwrap();
        other.close().await.unwrap();
    })
    .await;
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(work, hang, tick))]
struct Worker {
    core: ManagerCore,
    runs: AtomicUsize,
    hangs: AtomicBool,
    ran: Notify,
}

impl Schema for Worker {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE done (number bigint PRIMARY KEY)")
            .await
    }
}

impl Worker {
    #[database_safe]
    async fn order(&self, db: &mut WriteTransaction, numbers: Vec<i64>) -> Result<()> {
        for number in numbers {
            db.enqueue(Self::work_job(number)).await?;
        }
        Ok(())
    }

    #[job]
    #[database_safe]
    async fn work(&self, db: &mut WriteTransaction, number: i64) -> Result<()> {
        db.execute("INSERT INTO done VALUES (?1)", (number,))
            .await?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.ran.notify_one();
        Ok(())
    }

    #[database_safe]
    async fn order_hanging(&self, db: &mut WriteTransaction) -> Result<()> {
        db.enqueue(Self::hang_job()).await.map(drop)
    }

    #[job]
    async fn hang(&self) -> Result<()> {
        self.ran.notify_one();
        if self.hangs.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        Ok(())
    }

    #[job(every = "1h")]
    async fn tick(&self) -> Result<()> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.ran.notify_one();
        Ok(())
    }

    #[database_safe]
    async fn done(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM done", ()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_runs_once_whichever_process_enqueued_it() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let start = || Worker::create(dbm_postgres::config(&database.description()).unwrap());
        let (one, other) = (start().await.unwrap(), start().await.unwrap());
        one.order((0..30).collect()).await.unwrap();
        other.order((30..60).collect()).await.unwrap();
        while one.done().await.unwrap() < 60 {
            tokio::select! {
                () = one.ran.notified() => {}
                () = other.ran.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
        assert_eq!(one.jobs().dead(10).await.unwrap(), []);
        one.close().await.unwrap();
        other.close().await.unwrap();
        let runs = one.runs.load(Ordering::Relaxed) + other.runs.load(Ordering::Relaxed);
        // The schedule has run once, too.
        assert_eq!(runs, 61);
        assert_eq!(
            database.ask("SELECT count(*) FROM _dbm_job WHERE key IS NULL"),
            "0"
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_that_close_within_has_ended_is_given_back() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        let config = || dbm_postgres::config(&database.description()).unwrap();
        let worker = Worker::create(config()).await.unwrap();
        // The schedule runs once, at the first start.
        worker.ran.notified().await;
        worker.hangs.store(true, Ordering::Relaxed);
        worker.order_hanging().await.unwrap();
        worker.ran.notified().await;
        worker
            .close_within(Duration::from_millis(50))
            .await
            .unwrap();
        let job = "SELECT owner IS NULL AND attempts = 0 FROM _dbm_job WHERE kind = 'hang'";
        assert_eq!(database.ask(job), "t");
        let worker = Worker::create(config()).await.unwrap();
        // It has begun, and `close` waits for its end.
        worker.ran.notified().await;
        worker.close().await.unwrap();
        let left = "SELECT count(*) FROM _dbm_job WHERE kind = 'hang'";
        assert_eq!(database.ask(left), "0");
    })
    .await;
}

#[tokio::test]
async fn a_database_without_a_version_is_adopted_with_one() {
    let Some(server) = shared() else { return };
    let database = server.database();
    within(async {
        database.ask("CREATE TABLE note (id bigint PRIMARY KEY, text text NOT NULL)");
        let start = |config| {
            Store::create_with(config, |core| Store {
                core,
                entered: Notify::new(),
                news: None,
            })
        };
        let config = || dbm_postgres::config(&database.description()).unwrap();
        assert!(matches!(
            start(config()).await,
            Err(Error::ForeignDatabase { .. })
        ));
        let store = start(config().adopt(Version::new(1, 0, 0))).await.unwrap();
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        // `init_db` has not run.
        assert_eq!(store.count().await.unwrap(), 0);
        store.close().await.unwrap();
        start(config()).await.unwrap().close().await.unwrap();
    })
    .await;
}
