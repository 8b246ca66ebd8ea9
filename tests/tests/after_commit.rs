//! `after_commit`: what runs, when, and what never runs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, SchemaDrift, rusqlite};
use dbm_tests::{
    Moment, cut, eventually, logged, poll_once, run, run_on_one_thread, watch, within,
};
use tokio::sync::{Semaphore, oneshot};

/// Notes, and the numbers of those that were told of.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    told: Told,
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<i64>>>);

impl Told {
    fn push(&self, id: i64) {
        self.0.lock().unwrap().push(id);
    }

    fn ids(&self) -> Vec<i64> {
        self.0.lock().unwrap().clone()
    }
}

/// How the body of `add_then` ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fails,
    Panics,
    Waits,
    BreaksTheCommit,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE told (id INTEGER PRIMARY KEY REFERENCES note DEFERRABLE INITIALLY DEFERRED) STRICT",
        )
        .await?;
        self.tell(db, 0)
    }
}

impl Store {
    fn make(core: ManagerCore) -> Self {
        let told = Told::default();
        Self { core, told }
    }

    async fn open(config: Config) -> Arc<Self> {
        Self::create_with(config, Self::make).await.unwrap()
    }

    fn tell(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        let told = self.told.clone();
        db.after_commit(async move { told.push(id) })
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1)", (id,)).await?;
        self.tell(db, id)
    }

    /// Also waits for something other than the database.
    #[database_safe]
    async fn add_slowly(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        self.tell(db, id)?;
        tokio::task::yield_now().await;
        db.execute("INSERT INTO note VALUES (?1)", (id,)).await?;
        Ok(())
    }

    #[database_safe(timeout = "50ms")]
    async fn add_then(&self, db: &mut WriteTransaction, id: i64, end: End) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1)", (id,)).await?;
        self.tell(db, id)?;
        match end {
            End::Fails => Err(Error::other("as it should")),
            End::Panics => panic!("as it should"),
            End::Waits => std::future::pending().await,
            End::BreaksTheCommit => {
                db.execute("INSERT INTO told VALUES (-1)", ()).await?;
                Ok(())
            }
        }
    }

    /// The inner calls of `fails` fail, and are forgiven.
    #[database_safe]
    async fn outer(&self, db: &mut WriteTransaction, ids: [i64; 4], fails: bool) -> Result<()> {
        self.tell(db, ids[0])?;
        self.add(ids[1]).await?;
        let undone = self.inner(ids[2]).await;
        assert!(undone.is_err());
        self.tell(db, ids[3])?;
        if fails {
            return Err(Error::other("as it should"));
        }
        Ok(())
    }

    #[database_safe]
    async fn inner(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        self.tell(db, id)?;
        self.add(id).await?;
        Err(Error::other("as it should"))
    }

    #[database_safe]
    async fn after(
        &self,
        db: &mut WriteTransaction,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        db.after_commit(future)
    }

    #[database_safe]
    async fn ids(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT id FROM note ORDER BY rowid", ()).await
    }

    /// Waits until everything that was promised so far is over.
    async fn quiet(&self) {
        let (sender, receiver) = oneshot::channel();
        self.after(async move { sender.send(()).unwrap() })
            .await
            .unwrap();
        within(receiver).await.unwrap();
    }
}

#[test]
fn it_runs_after_the_commit_in_the_order_of_the_calls() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(directory.path())).await;
        for id in 1..=50 {
            store.add(id).await.unwrap();
        }
        store.quiet().await;
        assert_eq!(store.told.ids(), (0..=50).collect::<Vec<_>>());
        store.close().await.unwrap();
    });
}

#[test]
fn when_it_runs_the_work_is_seen_by_others() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(directory.path())).await;
        let (sender, receiver) = oneshot::channel();
        let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
        let count = "SELECT count(*) FROM note WHERE id = 1";
        let look = async move {
            let seen: i64 = other.query_row(count, (), |row| row.get(0)).unwrap();
            sender.send(seen).unwrap();
        };
        store.add_and(1, look).await.unwrap();
        assert_eq!(within(receiver).await.unwrap(), 1);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn add_and(
        &self,
        db: &mut WriteTransaction,
        id: i64,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        db.after_commit(future)?;
        db.execute("INSERT INTO note VALUES (?1)", (id,)).await?;
        Ok(())
    }
}

#[test]
fn it_never_runs_when_the_work_is_undone() {
    run(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            let config = Config::in_memory().execution(execution);
            let store = Store::open(config).await;
            for end in [End::Fails, End::Panics, End::Waits, End::BreaksTheCommit] {
                let this = Arc::clone(&store);
                let call = tokio::spawn(async move { this.add_then(1, end).await });
                let failed = within(call).await.map_or(true, |result| result.is_err());
                assert!(failed, "{end:?}");
            }
            store.quiet().await;
            assert_eq!(store.told.ids(), [0]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn what_a_nested_call_has_promised_is_kept_or_undone_with_it() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        store.outer([1, 2, 3, 4], false).await.unwrap();
        store.outer([5, 6, 7, 8], true).await.unwrap_err();
        store.quiet().await;
        assert_eq!(store.told.ids(), [0, 1, 2, 4]);
        store.close().await.unwrap();
    });
}

/// What was written and what was told of agree, wherever a call is dropped.
async fn sweep(execution: Execution) {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(Config::new(directory.path()).execution(execution)).await;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..300 {
                let id = NEXT.fetch_add(1, Ordering::Relaxed);
                store.add(id).await.unwrap();
            }
        })
    };
    for moment in Moment::ALL {
        for slowly in [false, true] {
            for at in 1..60 {
                let id = NEXT.fetch_add(1, Ordering::Relaxed);
                let call = async {
                    if slowly {
                        store.add_slowly(id).await
                    } else {
                        store.add(id).await
                    }
                };
                if let Some(result) = cut(at % 15 + 1, moment, call).await {
                    result.unwrap();
                }
            }
        }
    }
    within(writer).await.unwrap();
    store.quiet().await;
    let mut told = store.told.ids();
    assert_eq!(told.remove(0), 0);
    told.sort_unstable();
    assert_eq!(told, store.ids().await.unwrap());
    store.close().await.unwrap();
}

#[test]
fn it_runs_if_and_only_if_the_work_is_committed_wherever_a_call_is_dropped() {
    run(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            sweep(execution).await;
        }
    });
}

#[test]
fn it_runs_if_and_only_if_the_work_is_committed_on_one_thread() {
    run_on_one_thread(sweep(Execution::Auto));
}

#[test]
fn calls_that_share_a_commit_are_told_of_in_the_order_in_which_they_ran() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(directory.path())).await;
        store.make_log().await.unwrap();
        let tasks: Vec<_> = (1..=64)
            .map(|task: i64| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for round in 0..10 {
                        store.log(task * 100 + round).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            within(task).await.unwrap();
        }
        store.quiet().await;
        assert_eq!(store.told.ids()[1..], store.logged().await.unwrap());
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn make_log(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE log (id INTEGER PRIMARY KEY, note INTEGER NOT NULL) STRICT; DROP TABLE told")
            .await
    }

    #[database_safe]
    async fn log(&self, db: &mut WriteTransaction, note: i64) -> Result<()> {
        self.tell(db, note)?;
        db.execute("INSERT INTO log (note) VALUES (?1)", (note,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn logged(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT note FROM log ORDER BY id", ()).await
    }
}

#[test]
fn close_waits_for_it_and_it_may_still_call_the_manager() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let go_on = Arc::new(Semaphore::new(0));
        let (this, gate) = (Arc::clone(&store), Arc::clone(&go_on));
        let promised = store.after(async move {
            gate.acquire().await.unwrap().forget();
            this.add(7).await.unwrap();
        });
        promised.await.unwrap();
        let this = Arc::clone(&store);
        let closing = tokio::spawn(async move { this.close().await });
        let mut status = store.watch_status();
        within(status.wait_for(|status| *status == Status::Stopping))
            .await
            .unwrap();
        assert!(matches!(store.ids().await, Err(Error::Closed { .. })));
        go_on.add_permits(1);
        within(closing).await.unwrap().unwrap();
        assert_eq!(store.told.ids(), [0, 7]);
    });
}

#[test]
fn close_within_ends_it() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let (held, dropped) = oneshot::channel::<()>();
        let waits = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        store.after(waits).await.unwrap();
        store.add(1).await.unwrap();
        within(store.close_within(Duration::from_millis(20)))
            .await
            .unwrap();
        assert_eq!(store.status(), Status::Stopped);
        assert!(within(dropped).await.is_err(), "it was dropped");
        assert_eq!(store.told.ids(), [0], "what came after it never ran");
    });
}

#[test]
fn closing_from_inside_it_is_an_error_at_once() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let (sender, receiver) = oneshot::channel();
        let this = Arc::clone(&store);
        let closes = async move {
            let answers = (
                this.close().await,
                this.close_within(Duration::ZERO).await,
                poll_once(&mut Box::pin(this.close_on_signal(Duration::ZERO))).await,
            );
            drop(sender.send(answers));
        };
        store.after(closes).await.unwrap();
        let (close, close_within, on_signal) = within(receiver).await.unwrap();
        assert!(matches!(
            close,
            Err(Error::FromInside {
                method: "after",
                ..
            })
        ));
        assert!(matches!(close_within, Err(Error::FromInside { .. })));
        assert!(matches!(
            on_signal,
            Poll::Ready(Err(Error::FromInside { .. }))
        ));
        assert_eq!(store.status(), Status::Running);
        store.close().await.unwrap();
    });
}

#[test]
fn a_panic_in_it_is_logged_and_the_next_one_runs() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let _ = logged();
        store
            .after(async { panic!("a hundred and one") })
            .await
            .unwrap();
        store.add(1).await.unwrap();
        store.quiet().await;
        assert_eq!(store.told.ids(), [0, 1]);
        assert!(logged().contains("a hundred and one"));
        store.close().await.unwrap();
    });
}

/// Its destructor is code of the program, which may call the manager.
/// Two panics at the same time would end the process.
#[test]
fn panics_of_several_that_are_dropped_by_a_close_end_nothing() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("the drop is out of order");
        }
    }
    run(async {
        let store = Store::open(Config::in_memory()).await;
        for _ in 0..4 {
            let panics = Panics;
            let hangs = async move {
                let _panics = panics;
                std::future::pending::<()>().await;
            };
            store.after(hangs).await.unwrap();
        }
        store.close_within(Duration::ZERO).await.unwrap();
    });
}

#[test]
fn what_is_undone_is_dropped_where_it_can_call_the_manager() {
    struct Calls(Arc<Store>, Option<oneshot::Sender<()>>);
    impl Drop for Calls {
        fn drop(&mut self) {
            let (store, done) = (Arc::clone(&self.0), self.1.take());
            let _ = store.status();
            tokio::spawn(async move {
                store.add(5).await.unwrap();
                drop(done);
            });
        }
    }
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let (sender, receiver) = oneshot::channel();
        let calls = Calls(Arc::clone(&store), Some(sender));
        let undone = store.fail_after(async move { drop(calls) }).await;
        assert!(undone.is_err());
        assert!(within(receiver).await.is_err());
        assert_eq!(store.ids().await.unwrap(), [5]);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn fail_after(
        &self,
        db: &mut WriteTransaction,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        db.after_commit(future)?;
        Err(Error::other("as it should"))
    }
}

#[test]
fn it_runs_after_the_commit_of_init_db_and_not_in_a_check_for_drift() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = || Config::new(directory.path()).schema_drift(SchemaDrift::Error);
        let store = Store::open(config()).await;
        store.quiet().await;
        assert_eq!(store.told.ids(), [0]);
        store.close().await.unwrap();
        // The check runs `init_db` of this very manager, on a model.
        let store = Store::open(config()).await;
        store.quiet().await;
        assert!(store.told.ids().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn it_runs_on_another_runtime_when_the_first_one_is_gone() {
    watch(|| {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap()
        };
        let first = runtime();
        let store = first.block_on(async {
            let store = Store::open(Config::in_memory()).await;
            store.quiet().await;
            store
        });
        drop(first);
        runtime().block_on(async {
            store.add(1).await.unwrap();
            eventually(|| store.told.ids() == [0, 1]).await;
            store.close().await.unwrap();
        });
    });
}
