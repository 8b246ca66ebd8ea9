//! From Starting to Stopped or Failed: the status goes forward only, close drains, nothing is left over.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{
    Dice, Hooks, LIMIT, Stalled, Store, eventually, logged, names, open_files, run,
    run_on_one_thread, waits, watch, within,
};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
    INSERT INTO line (text) SELECT CAST(x AS TEXT) FROM n";

/// Lines in the order in which they were written, and moments at which a test can hold the manager up.
#[derive(DbManager, Debug)]
#[db_manager(version = "1.0.0")]
struct Diary {
    core: ManagerCore,
    holds_init: AtomicBool,
    arrived: Notify,
    go_on: Notify,
}

impl Schema for Diary {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE line (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT) STRICT",
        )
        .await?;
        if self.holds_init.load(Ordering::Relaxed) {
            self.wait_here().await;
        }
        Ok(())
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Diary {
    fn held_in_init(config: Config) -> Arc<Self> {
        let diary = |core| Self {
            core,
            holds_init: true.into(),
            arrived: Notify::new(),
            go_on: Notify::new(),
        };
        Self::start_with(config, diary)
    }

    async fn wait_here(&self) {
        self.arrived.notify_one();
        self.go_on.notified().await;
    }

    #[database_safe]
    async fn append(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        db.execute("INSERT INTO line (text) VALUES (?1)", (text,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn append_held(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        db.execute("INSERT INTO line (text) VALUES (?1)", (text,))
            .await?;
        self.wait_here().await;
        Ok(())
    }

    #[database_safe]
    async fn lines(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT text FROM line ORDER BY number", ()).await
    }

    #[database_safe]
    async fn never_ends_reading(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn never_ends_writing(&self, db: &mut WriteTransaction) -> Result<usize> {
        self.arrived.notify_one();
        db.execute(ENDLESS_WRITE, ()).await
    }

    #[database_safe]
    async fn never_ends_reading_once(
        &self,
        db: &mut ReadTransaction,
        begins: mpsc::Sender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            begins.send(()).map_err(Error::other)?;
            Ok(c.query_row(ENDLESS, (), |row| row.get(0))?)
        })
        .await
    }

    /// Keeps the writer's thread until the test lets go.
    #[database_safe]
    async fn blocks(
        &self,
        db: &mut WriteTransaction,
        inside: oneshot::Sender<()>,
        go_on: mpsc::Receiver<()>,
    ) -> Result<()> {
        db.call(move |_| {
            let _ = inside.send(());
            go_on.recv().map_err(Error::other)
        })
        .await
    }

    #[database_safe]
    async fn closes(&self, _db: &mut ReadTransaction) -> Result<()> {
        self.close().await
    }

    #[database_safe]
    async fn closes_within(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.close_within(Duration::ZERO).await
    }

    #[database_safe]
    async fn waits_until_ready(&self, _db: &mut Connection) -> Result<()> {
        self.ensure_ready().await
    }

    #[database_safe]
    async fn sets_version(
        &self,
        _db: &mut WriteTransaction,
        version: &Version,
        keeps: bool,
    ) -> Result<Version> {
        self.update_version(version).await?;
        let seen = self.get_version().await?;
        if keeps {
            Ok(seen)
        } else {
            Err(Error::other(seen.to_string()))
        }
    }
}

async fn diary() -> Arc<Diary> {
    Diary::create(Config::in_memory()).await.unwrap()
}

/// Runs a call in a task of its own.
fn call<T: Send + 'static, F: Future<Output = T> + Send>(
    diary: &Arc<Diary>,
    call: impl FnOnce(Arc<Diary>) -> F + Send + 'static,
) -> JoinHandle<T> {
    let diary = Arc::clone(diary);
    tokio::spawn(async move { call(diary).await })
}

/// A call that has the writer and keeps it.
async fn held(diary: &Arc<Diary>) -> JoinHandle<Result<()>> {
    let holder = call(
        diary,
        |diary| async move { diary.append_held("held").await },
    );
    within(diary.arrived.notified()).await;
    holder
}

/// Calls that wait for the writer, in this order.
async fn queued(diary: &Arc<Diary>, texts: &[&'static str]) -> Vec<JoinHandle<Result<()>>> {
    let mut calls = Vec::new();
    for text in texts.iter().copied() {
        let (sender, is_queued) = oneshot::channel();
        calls.push(call(diary, move |diary| async move {
            let mut append = Box::pin(diary.append(text));
            assert!(waits(&mut append).await);
            sender.send(()).unwrap();
            append.await
        }));
        is_queued.await.unwrap();
    }
    calls
}

#[test]
fn the_status_goes_forward_only() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        let mut status = diary.watch_status();
        assert_eq!(*status.borrow_and_update(), Status::Starting);
        within(diary.arrived.notified()).await;
        assert_eq!(diary.status(), Status::Starting);
        diary.go_on.notify_one();
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Running);
        let holder = held(&diary).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Stopping);
        diary.go_on.notify_one();
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Stopped);
        holder.await.unwrap().unwrap();
        closing.await.unwrap().unwrap();
        diary.close().await.unwrap();
        assert!(!status.has_changed().unwrap_or(false));
    });
}

#[test]
fn a_failed_manager_stays_failed() {
    run(async {
        let hooks = Hooks {
            init: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let store = Store::start_hooked(Config::in_memory(), hooks);
        let mut status = store.watch_status();
        within(status.wait_for(|status| *status == Status::Failed))
            .await
            .unwrap();
        within(store.close()).await.unwrap();
        within(store.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!(store.status(), Status::Failed);
        let Error::Failed {
            method: "ids",
            cause,
        } = store.ids().await.unwrap_err()
        else {
            panic!()
        };
        assert_eq!(cause.to_string(), "on purpose");
    });
}

#[test]
fn ensure_ready_gives_every_waiter_the_same_answer() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        let early: Vec<_> = (0..5)
            .map(|_| call(&diary, |diary| async move { diary.ensure_ready().await }))
            .collect();
        within(diary.arrived.notified()).await;
        diary.go_on.notify_one();
        for waiter in early {
            within(waiter).await.unwrap().unwrap();
        }
        diary.ensure_ready().await.unwrap();
        diary.close().await.unwrap();
        diary.ensure_ready().await.unwrap();
    });
}

#[test]
fn close_lets_queued_calls_finish_in_their_order() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let holder = held(&diary).await;
        let calls = queued(&diary, &["1", "2", "3", "4", "5"]).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        let mut status = diary.watch_status();
        within(status.wait_for(|status| *status == Status::Stopping))
            .await
            .unwrap();
        assert!(matches!(
            diary.append("too late").await,
            Err(Error::Closed { method: "append" })
        ));
        assert!(matches!(
            diary.lines().await,
            Err(Error::Closed { method: "lines" })
        ));
        assert!(matches!(
            diary.get_version().await,
            Err(Error::Closed { .. })
        ));
        diary.go_on.notify_one();
        for call in calls.into_iter().chain([holder]) {
            within(call).await.unwrap().unwrap();
        }
        within(closing).await.unwrap().unwrap();

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(
            diary.lines().await.unwrap(),
            ["held", "1", "2", "3", "4", "5"]
        );
        diary.close().await.unwrap();
    });
}

#[test]
fn calls_against_a_close_are_kept_or_refused() {
    run(async {
        for seed in 0..10_u64 {
            let directory = TempDir::new().unwrap();
            let store = Store::create_hooked(Config::new(directory.path()), Hooks::default())
                .await
                .unwrap();
            let mut dice = Dice::new(seed);
            let mut calls = JoinSet::new();
            for id in 0..200 {
                let (store, pause) = (Arc::clone(&store), dice.below(40));
                calls.spawn(async move {
                    for _ in 0..pause {
                        tokio::task::yield_now().await;
                    }
                    (id, store.add(id, "x").await)
                });
            }
            for _ in 0..dice.below(40) {
                tokio::task::yield_now().await;
            }
            within(store.close()).await.unwrap();
            let mut kept = Vec::new();
            while let Some(result) = within(calls.join_next()).await {
                match result.unwrap() {
                    (id, Ok(())) => kept.push(id),
                    (_, Err(Error::Closed { .. })) => {}
                    (id, Err(error)) => panic!("{id}: {error:?}"),
                }
            }
            kept.sort_unstable();
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.ids().await.unwrap(), kept, "seed {seed}");
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_second_and_a_concurrent_close_wait_for_the_same_end() {
    run(async {
        let diary = diary().await;
        let holder = held(&diary).await;
        let mut closing = [0; 3].map(|_| Box::pin(diary.close()));
        for close in &mut closing {
            assert!(waits(close).await);
        }
        diary.go_on.notify_one();
        holder.await.unwrap().unwrap();
        for close in closing {
            within(close).await.unwrap();
            assert_eq!(diary.status(), Status::Stopped);
        }
        within(diary.close()).await.unwrap();
        within(diary.close_within(Duration::ZERO)).await.unwrap();
    });
}

#[test]
fn close_during_starting_waits_for_the_start_and_for_calls_that_came_before() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::held_in_init(Config::new(directory.path()));
        within(diary.arrived.notified()).await;
        let early = queued(&diary, &["early"]).await;
        let mut closing = Box::pin(diary.close());
        assert!(waits(&mut closing).await);
        assert!(matches!(
            diary.append("late").await,
            Err(Error::Closed { .. })
        ));
        diary.go_on.notify_one();
        within(closing).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        for call in early {
            call.await.unwrap().unwrap();
        }
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_start_that_ends_after_close_was_called_is_stopping_while_calls_run() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        within(diary.arrived.notified()).await;
        let mut held = Box::pin(diary.append_held("early"));
        assert!(waits(&mut held).await);
        let mut closing = Box::pin(diary.close());
        assert!(waits(&mut closing).await);
        diary.go_on.notify_one();
        let ((), result) = within(async {
            tokio::join!(
                async {
                    diary.arrived.notified().await;
                    let mut status = diary.watch_status();
                    let stopping = status.wait_for(|status| *status == Status::Stopping);
                    stopping.await.unwrap();
                    diary.go_on.notify_one();
                },
                held
            )
        })
        .await;
        result.unwrap();
        within(closing).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
    });
}

#[test]
fn close_within_gives_up_a_start_that_does_not_end() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::held_in_init(Config::new(directory.path()));
        within(diary.arrived.notified()).await;
        within(diary.close_within(Duration::ZERO)).await.unwrap();
        assert!(matches!(diary.status(), Status::Failed | Status::Stopped));
        assert!(within(diary.lines()).await.is_err());
        assert!(open_files(directory.path()).is_empty());

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(diary.lines().await.unwrap(), [""; 0]);
        diary.close().await.unwrap();
    });
}

/// What it interrupts at a start: a hook's statement, whether its future goes away with the start or was leaked.
#[test]
fn close_within_interrupts_the_statement_of_a_hook() {
    static RUNS: Notify = Notify::const_new();
    fn endless(db: &mut WriteTransaction) -> impl Future<Output = Result<()>> + Send {
        db.call(|c| {
            RUNS.notify_one();
            Ok(c.query_row(ENDLESS, (), |_| Ok(()))?)
        })
    }
    run(async {
        let hooks = [
            Hooks {
                init: Some(|_, db| Box::pin(endless(db))),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|_, db| {
                    Box::pin(async {
                        let mut leaked = Box::pin(endless(db));
                        assert!(waits(&mut leaked).await);
                        std::mem::forget(leaked);
                        std::future::pending().await
                    })
                }),
                ..Hooks::default()
            },
        ];
        for hooks in hooks {
            let directory = TempDir::new().unwrap();
            let store = Store::start_hooked(Config::new(directory.path()), hooks);
            within(RUNS.notified()).await;
            within(store.close_within(Duration::ZERO)).await.unwrap();
            assert_eq!(store.status(), Status::Failed);
            assert!(open_files(directory.path()).is_empty());
        }
    });
}

#[test]
fn close_within_interrupts_what_still_runs_and_refuses_what_is_queued() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        diary.append("kept").await.unwrap();
        let reading = call(
            &diary,
            |diary| async move { diary.never_ends_reading().await },
        );
        let writing = call(
            &diary,
            |diary| async move { diary.never_ends_writing().await },
        );
        within(diary.arrived.notified()).await;
        let calls = queued(&diary, &["never"]).await;
        within(diary.close_within(Duration::from_millis(20)))
            .await
            .unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        assert!(matches!(
            within(reading).await.unwrap(),
            Err(Error::Closed {
                method: "never_ends_reading"
            })
        ));
        assert!(matches!(
            within(writing).await.unwrap(),
            Err(Error::Closed {
                method: "never_ends_writing"
            })
        ));
        for call in calls {
            assert!(matches!(
                within(call).await.unwrap(),
                Err(Error::Closed { .. })
            ));
        }
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(diary.lines().await.unwrap(), ["kept"]);
        diary.close().await.unwrap();
    });
}

#[test]
fn close_within_takes_the_writer_from_a_call_that_waited_for_a_start_which_just_ended() {
    run_on_one_thread(async {
        // Once `init_db` goes on, nothing keeps the start from ending at once.
        let config = Config::in_memory().execution(Execution::Inline);
        let diary = Diary::held_in_init(config);
        within(diary.arrived.notified()).await;
        let waiting = call(&diary, |diary| async move { diary.append_held("").await });
        tokio::task::yield_now().await;
        let mut closing = Box::pin(diary.close_within(Duration::from_millis(1)));
        assert!(waits(&mut closing).await);
        let mut polls = 0;
        let closed = std::future::poll_fn(|context| {
            polls += 1;
            if polls == 2 {
                diary.go_on.notify_one();
            }
            closing.as_mut().poll(context)
        });
        within(closed).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        diary.go_on.notify_one();
        let told = within(waiting).await.unwrap();
        assert!(matches!(told, Err(Error::Closed { .. })), "{told:?}");
    });
}

#[test]
fn close_within_refuses_a_read_that_was_about_to_begin() {
    run_on_one_thread(async {
        let diary = diary().await;
        let (begins, begun) = mpsc::channel();
        let mut read = Stalled::new(Box::pin(diary.never_ends_reading_once(begins)));
        assert!(!read.run_to(1).await, "its connection is being opened");
        let (inside, is_inside) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let blocking = call(&diary, |diary| async move {
            diary.blocks(inside, may_go_on).await
        });
        within(is_inside).await.unwrap();
        let queued = queued(&diary, &["never"]).await;
        let closing = call(&diary, |diary| async move {
            diary.close_within(Duration::ZERO).await
        });
        for call in queued {
            assert!(within(call).await.unwrap().is_err());
        }
        // The connections are not closed yet: the writer's thread is busy.
        let told = if read.run_to(2).await {
            Some(read.finish().await)
        } else {
            begun.recv_timeout(LIMIT).unwrap();
            None
        };
        go_on.send(()).unwrap();
        within(closing).await.unwrap().unwrap();
        assert!(within(blocking).await.unwrap().is_err());
        assert!(matches!(told, Some(Err(Error::Closed { .. }))), "{told:?}");
    });
}

#[test]
fn close_within_does_not_wait_for_a_body_that_waits_for_something_else() {
    run(async {
        let diary = diary().await;
        let holder = held(&diary).await;
        within(diary.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        diary.go_on.notify_one();
        let error = within(holder).await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Closed {
                    method: "append_held"
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn close_within_closes_at_once_when_nothing_runs() {
    run(async {
        let diary = diary().await;
        within(diary.close_within(Duration::MAX)).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
    });
}

#[test]
fn dropped_without_close_it_warns_and_loses_nothing() {
    run(async {
        let _ = logged();
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        for id in 0..20 {
            store.add(id, "x").await.unwrap();
        }
        drop(store);
        let path = directory.path().join("database.db").display().to_string();
        let warned = |line: &str| {
            line.contains("WARN") && line.contains("dropped without close") && line.contains(&path)
        };
        eventually(|| logged().lines().any(warned)).await;
        eventually(|| open_files(directory.path()).is_empty()).await;
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), (0..20).collect::<Vec<_>>());
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
    });
}

#[test]
fn close_leaves_no_side_files_and_no_descriptors() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        let mut calls = JoinSet::new();
        for id in 0..50 {
            let store = Arc::clone(&store);
            calls.spawn(async move {
                store.add(id, "x").await?;
                store.ids().await
            });
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap().unwrap();
        }
        assert!(!open_files(directory.path()).is_empty());
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn close_writes_the_log_into_the_file() {
    run(async {
        let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        Store::make(directory.path(), "1.0.0").await.unwrap();
        fs::copy(
            directory.path().join("database.db"),
            copy.path().join("database.db"),
        )
        .unwrap();
        let store = Store::open(copy.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn in_memory_leaves_nothing_behind() {
    run(async {
        for closes in [true, false] {
            let store = Store::create_hooked(Config::in_memory(), Hooks::default())
                .await
                .unwrap();
            store.add(1, "x").await.unwrap();
            let directory = store.path().and_then(Path::parent).unwrap().to_owned();
            assert!(directory.exists());
            if closes {
                store.close().await.unwrap();
                assert!(!directory.exists());
            }
            drop(store);
            eventually(|| !directory.exists()).await;
        }
        let hooks = Hooks {
            init: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let store = Store::start_hooked(Config::in_memory(), hooks);
        store.ensure_ready().await.unwrap_err();
        assert_eq!(store.path(), None);
    });
}

#[test]
fn two_managers_in_memory_are_two_databases() {
    run(async {
        let (one, other) = (diary().await, diary().await);
        one.append("mine").await.unwrap();
        assert_eq!(other.lines().await.unwrap(), [""; 0]);
        one.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[test]
fn start_outside_of_a_runtime_is_failed() {
    watch(|| {
        let diary = Diary::held_in_init(Config::in_memory());
        assert_eq!(diary.status(), Status::Failed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let error = runtime.block_on(diary.ensure_ready()).unwrap_err();
        assert!(matches!(error, Error::Runtime { .. }), "{error:?}");
        assert!(matches!(
            runtime.block_on(diary.lines()),
            Err(Error::Failed {
                method: "lines",
                ..
            })
        ));
        runtime.block_on(diary.close()).unwrap();
    });
}

#[test]
fn create_begins_when_it_is_polled() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let diary = runtime
            .block_on(Diary::create(Config::in_memory()))
            .unwrap();
        runtime.block_on(diary.close()).unwrap();
        let store = Store::create_hooked(Config::in_memory(), Hooks::default());
        let store = runtime.block_on(store).unwrap();
        runtime.block_on(store.close()).unwrap();
    });
}

#[test]
fn a_runtime_without_time_is_failed() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let error = runtime
            .block_on(async { Diary::create(Config::in_memory()).await })
            .unwrap_err();
        assert!(matches!(error, Error::Runtime { .. }), "{error:?}");
        assert!(error.to_string().contains("enable_time"), "{error}");
    });
}

#[test]
fn a_runtime_that_ends_during_the_start_is_failed() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let first = runtime();
        let diary = first.block_on(async {
            let diary = Diary::held_in_init(Config::new(directory.path()));
            within(diary.arrived.notified()).await;
            diary
        });
        drop(first);
        let second = runtime();
        let error = second.block_on(within(diary.ensure_ready())).unwrap_err();
        assert!(matches!(error, Error::Runtime { .. }), "{error:?}");
        assert_eq!(diary.status(), Status::Failed);
        assert!(open_files(directory.path()).is_empty());
        let diary = second
            .block_on(async { within(Diary::create(Config::new(directory.path()))).await })
            .unwrap();
        second.block_on(diary.close()).unwrap();
    });
}

#[test]
fn a_manager_outlives_the_runtime_it_was_started_on() {
    watch(|| {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let first = runtime();
        let diary = first.block_on(diary());
        first.block_on(diary.append("from the first")).unwrap();
        drop(first);
        let second = runtime();
        second
            .block_on(within(diary.append("from the second")))
            .unwrap();
        assert_eq!(
            second.block_on(within(diary.lines())).unwrap(),
            ["from the first", "from the second"]
        );
        second.block_on(within(diary.close())).unwrap();
    });
}

#[test]
fn two_runtimes_share_a_manager() {
    run(async {
        let diary = diary().await;
        let other = Arc::clone(&diary);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(within(async {
                for _ in 0..100 {
                    other.append("there").await?;
                }
                other.lines().await
            }))
        });
        for _ in 0..100 {
            within(diary.append("here")).await.unwrap();
        }
        within(tokio::task::spawn_blocking(|| thread.join().unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(diary.lines().await.unwrap().len(), 200);
        diary.close().await.unwrap();
    });
}

#[test]
fn everything_works_on_a_current_thread_runtime() {
    run_on_one_thread(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let holder = held(&diary).await;
        let calls = queued(&diary, &["1", "2", "3"]).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        diary.go_on.notify_one();
        for call in calls.into_iter().chain([holder]) {
            within(call).await.unwrap().unwrap();
        }
        within(closing).await.unwrap().unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let reading = call(
            &diary,
            |diary| async move { diary.never_ends_reading().await },
        );
        tokio::task::yield_now().await;
        within(diary.close_within(Duration::from_millis(20)))
            .await
            .unwrap();
        assert!(within(reading).await.unwrap().is_err());
    });
}

#[test]
fn lifecycle_operations_from_inside_a_call_are_an_error_at_once() {
    run(async {
        let diary = diary().await;
        let from_inside = |error: Error| match error {
            Error::FromInside { operation, method } => (operation, method),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            from_inside(within(diary.closes()).await.unwrap_err()),
            ("close", "closes")
        );
        let error = within(diary.closes_within()).await.unwrap_err();
        assert_eq!(from_inside(error), ("close_within", "closes_within"));
        let error = within(diary.waits_until_ready()).await.unwrap_err();
        assert_eq!(from_inside(error), ("ensure_ready", "waits_until_ready"));
        assert_eq!(diary.status(), Status::Running);
        within(diary.close()).await.unwrap();
    });
}

#[test]
fn lifecycle_operations_from_inside_a_hook_are_an_error_at_once() {
    run(async {
        let hooks: [Hooks; 3] = [
            Hooks {
                init: Some(|store, _| Box::pin(store.close())),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|store, _| Box::pin(store.close_within(Duration::ZERO))),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|store, _| Box::pin(store.ensure_ready())),
                ..Hooks::default()
            },
        ];
        for hooks in hooks {
            let error = within(Store::create_hooked(Config::in_memory(), hooks))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::FromInside {
                        method: "init_db",
                        ..
                    }
                ),
                "{error:?}"
            );
        }
    });
}

#[test]
fn the_version_joins_the_call_around_it() {
    run(async {
        let diary = diary().await;
        let newer = Version::new(1, 2, 3);
        assert_eq!(
            diary
                .sets_version(&newer, false)
                .await
                .unwrap_err()
                .to_string(),
            "1.2.3"
        );
        assert_eq!(diary.get_version().await.unwrap(), Version::new(1, 0, 0));
        assert_eq!(diary.sets_version(&newer, true).await.unwrap(), newer);
        assert_eq!(diary.get_version().await.unwrap(), newer);
        let refused = diary
            .update_version(&Version::parse("2.0.0-rc.1").unwrap())
            .await;
        assert!(matches!(refused, Err(Error::Config { .. })));
        diary.update_version(&Version::new(0, 0, 0)).await.unwrap();
        assert_eq!(diary.get_version().await.unwrap(), Version::new(0, 0, 0));
        diary.close().await.unwrap();
    });
}

#[test]
fn a_configuration_that_cannot_be_used_is_failed() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = || Config::new(directory.path());
        for config in [
            config().readers(0),
            config().readers(1_001),
            config().db_name(""),
            config().version(Version::parse("1.0.0-rc.1").unwrap()),
            config().version(Version::parse("1.0.0+build").unwrap()),
            config().version(Version::new(u64::MAX, 0, 0)),
        ] {
            let store = Store::start_hooked(config, Hooks::default());
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{error:?}");
            assert_eq!(store.status(), Status::Failed);
        }
        assert_eq!(names(directory.path()), [""; 0]);
    });
}
