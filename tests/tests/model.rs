//! A model check: any sequence of starts, calls, closes and crashes does what a map of rows and a version would.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, eventually, open_files, watch, within};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    migration: Migration,
}

/// What becomes of a migration.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Migration {
    Well,
    Refused,
    Failed,
    Panics,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await
    }

    /// Marks its passage with a row.
    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        target: &Version,
    ) -> Result<bool> {
        let mark = -i64::try_from(target.major).unwrap();
        db.execute("INSERT INTO number VALUES (?1)", (mark,))
            .await?;
        match self.migration {
            Migration::Well => Ok(true),
            Migration::Refused => Ok(false),
            Migration::Failed => Err(Error::other("as asked")),
            Migration::Panics => panic!("as asked"),
        }
    }
}

/// What becomes of a body after it has done its work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Well,
    Fails,
    Panics,
}

impl Store {
    #[database_safe]
    #[fail_with_exception]
    async fn add(&self, db: &mut WriteTransaction, n: i64, end: End) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        finish(end)
    }

    /// Adds `n`, and `n + 1` inside; the failure of the inner call is swallowed.
    #[database_safe]
    #[fail_with_exception]
    async fn nest(&self, db: &mut WriteTransaction, n: i64, inner: End, outer: End) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        let _ = self.add(n + 1, inner).await;
        finish(outer)
    }

    #[database_safe]
    #[fail_with_exception]
    async fn remove(&self, db: &mut WriteTransaction, n: i64, end: End) -> Result<usize> {
        let removed = db.execute("DELETE FROM number WHERE n = ?1", (n,)).await?;
        finish(end).map(|()| removed)
    }

    #[database_safe]
    async fn on_connection(&self, db: &mut Connection, n: i64, commit: bool) -> Result<()> {
        let end = if commit { "COMMIT" } else { "" };
        db.execute_batch(&format!(
            "PRAGMA foreign_keys = 0; BEGIN; INSERT OR IGNORE INTO number VALUES ({n}); {end}"
        ))
        .await
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<BTreeSet<i64>> {
        Ok(db
            .query("SELECT n FROM number", ())
            .await?
            .into_iter()
            .collect())
    }
}

fn finish(end: End) -> Result<()> {
    match end {
        End::Well => Ok(()),
        End::Fails => Err(Error::other("as asked")),
        End::Panics => panic!("as asked"),
    }
}

/// One thing that happens to a database.
#[derive(Debug, Clone)]
enum Step {
    /// Opens it with a program of this version.
    Open {
        version: u64,
        migration: Migration,
        execution: Execution,
    },
    Add {
        n: i64,
        end: End,
    },
    Nest {
        n: i64,
        inner: End,
        outer: End,
    },
    Remove {
        n: i64,
        end: End,
    },
    OnConnection {
        n: i64,
        commit: bool,
    },
    /// A call that is dropped at some await point.
    DropAdd {
        n: i64,
        at: usize,
        moment: Moment,
    },
    DropNest {
        n: i64,
        at: usize,
        moment: Moment,
    },
    /// Several at once, of which one is dropped.
    AddTogether {
        n: i64,
        count: i64,
        dropped: i64,
        at: usize,
    },
    SetVersion {
        version: u64,
    },
    Close,
    /// Dropped without close; what it leaves may still be closing when the next one opens the file.
    Crash,
    /// A close that is dropped, and one that follows.
    CloseTwice {
        at: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let n = 1..12_i64;
    let end = || prop_oneof![3 => Just(End::Well), 1 => Just(End::Fails), 1 => Just(End::Panics)];
    let moment = || prop_oneof![Just(Moment::AtOnce), Just(Moment::WhenWoken)];
    let migration = prop_oneof![
        3 => Just(Migration::Well), 1 => Just(Migration::Refused),
        1 => Just(Migration::Failed), 1 => Just(Migration::Panics)
    ];
    let execution = prop_oneof![2 => Just(Execution::Auto), 1 => Just(Execution::Inline), 1 => Just(Execution::Offload)];
    prop_oneof![
        4 => (1..5_u64, migration, execution)
            .prop_map(|(version, migration, execution)| Step::Open { version, migration, execution }),
        6 => (n.clone(), end()).prop_map(|(n, end)| Step::Add { n, end }),
        4 => (n.clone(), end(), end()).prop_map(|(n, inner, outer)| Step::Nest { n, inner, outer }),
        3 => (n.clone(), end()).prop_map(|(n, end)| Step::Remove { n, end }),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, commit)| Step::OnConnection { n, commit }),
        4 => (n.clone(), 1..8_usize, moment()).prop_map(|(n, at, moment)| Step::DropAdd { n, at, moment }),
        2 => (n.clone(), 1..16_usize, moment()).prop_map(|(n, at, moment)| Step::DropNest { n, at, moment }),
        3 => (n, 1..8_i64, 0..8_i64, 1..8_usize)
            .prop_map(|(n, count, dropped, at)| Step::AddTogether { n, count, dropped, at }),
        1 => (1..5_u64).prop_map(|version| Step::SetVersion { version }),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
        1 => (1..4_usize).prop_map(|at| Step::CloseTwice { at }),
    ]
}

/// What the file holds, as it should be.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    /// None before the first start.
    version: Option<u64>,
    rows: BTreeSet<i64>,
}

/// The manager under test beside its model.
struct World {
    directory: TempDir,
    store: Option<Arc<Store>>,
    /// One was dropped without close and may still have the file open.
    crashed: bool,
    model: Model,
}

impl World {
    fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Open {
                version,
                migration,
                execution,
            } => {
                self.close().await;
                self.open(version, migration, execution).await;
            }
            Step::Close => self.close().await,
            Step::Crash => {
                self.crashed |= self.store.take().is_some();
            }
            Step::CloseTwice { at } => {
                if let Some(store) = self.store() {
                    cut(at, Moment::AtOnce, store.close()).await;
                    assert!(matches!(
                        store.add(99, End::Well).await,
                        Err(Error::Closed { .. })
                    ));
                }
                self.close().await;
            }
            Step::SetVersion { version } => {
                let Some(store) = self.store() else { return };
                store
                    .update_version(&Version::new(version, 0, 0))
                    .await
                    .unwrap();
                self.model.version = Some(version);
            }
            _ => {
                let Some(store) = self.store() else { return };
                self.call(&store, step).await;
            }
        }
        if let Some(store) = self.store() {
            assert_eq!(
                store.numbers().await.unwrap(),
                self.model.rows,
                "after {step:?}"
            );
            let version = store.get_version().await.unwrap();
            assert_eq!(Some(version.major), self.model.version, "after {step:?}");
            assert_eq!(store.status(), Status::Running);
        }
    }

    async fn open(&mut self, version: u64, migration: Migration, execution: Execution) {
        let config = Config::new(self.directory.path())
            .durability(Durability::Off)
            .version(Version::new(version, 0, 0))
            .execution(execution);
        let store = Store::start_with(config, |core| Store { core, migration });
        let ready = within(store.ensure_ready()).await;
        let mark = -i64::try_from(version).unwrap();
        let migrated = match self.model.version {
            None => {
                self.model.version = Some(version);
                true
            }
            Some(stored) if stored > version => {
                assert!(matches!(ready, Err(Error::TooNew { .. })), "{ready:?}");
                false
            }
            Some(stored) if stored == version => true,
            Some(_) if migration == Migration::Well && !self.model.rows.contains(&mark) => {
                self.model.version = Some(version);
                self.model.rows.insert(mark);
                true
            }
            Some(_) => false,
        };
        assert_eq!(ready.is_ok(), migrated, "{ready:?}");
        if migrated {
            self.store = Some(store);
        } else {
            assert_eq!(store.status(), Status::Failed);
            assert!(matches!(store.numbers().await, Err(Error::Failed { .. })));
            eventually(|| open_files(self.directory.path()).is_empty()).await;
        }
    }

    async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            within(store.close()).await.unwrap();
            assert_eq!(store.status(), Status::Stopped);
            eventually(|| open_files(self.directory.path()).is_empty()).await;
            let mut files = std::fs::read_dir(self.directory.path()).unwrap();
            let is_log = |name: &str| name.ends_with("-wal") || name.ends_with("-shm");
            let left = files.any(|file| is_log(&file.unwrap().file_name().to_string_lossy()));
            let crashed = std::mem::take(&mut self.crashed);
            assert!(crashed || !left, "side files are left");
        }
    }

    async fn call(&mut self, store: &Arc<Store>, step: &Step) {
        let rows = &mut self.model.rows;
        match *step {
            Step::Add { n, end } => {
                let result = within(store.add(n, end)).await;
                let well = end == End::Well && !rows.contains(&n);
                assert_eq!(result.is_ok(), well, "{result:?}");
                if well {
                    rows.insert(n);
                }
            }
            Step::Nest { n, inner, outer } => {
                let free = !rows.contains(&n);
                let result = within(store.nest(n, inner, outer)).await;
                let well = free && outer == End::Well;
                assert_eq!(result.is_ok(), well, "{result:?}");
                if well {
                    rows.insert(n);
                    if inner == End::Well {
                        rows.insert(n + 1);
                    }
                }
            }
            Step::Remove { n, end } => {
                let result = within(store.remove(n, end)).await;
                match result {
                    Ok(removed) => {
                        assert_eq!(end, End::Well);
                        assert_eq!(removed, usize::from(rows.remove(&n)));
                    }
                    Err(_) => assert_ne!(end, End::Well),
                }
            }
            Step::OnConnection { n, commit } => {
                let result = within(store.on_connection(n, commit)).await;
                if commit {
                    result.unwrap();
                    rows.insert(n);
                } else {
                    assert!(
                        matches!(result, Err(Error::TransactionLeftOpen { .. })),
                        "{result:?}"
                    );
                }
            }
            Step::DropAdd { n, at, moment } => {
                let dropped = within(cut(at, moment, store.add(n, End::Well))).await;
                let there = settled(store).await;
                match dropped {
                    Some(result) => assert_eq!(result.is_ok(), rows.insert(n), "{result:?}"),
                    // Whole or not at all, and nothing else.
                    None if there.contains(&n) => drop(rows.insert(n)),
                    None => {}
                }
            }
            Step::DropNest { n, at, moment } => {
                if rows.contains(&n) || rows.contains(&(n + 1)) {
                    return;
                }
                let dropped = within(cut(at, moment, store.nest(n, End::Well, End::Well))).await;
                let there = settled(store).await;
                assert_eq!(there.contains(&n), there.contains(&(n + 1)), "half a write");
                if there.contains(&n) {
                    rows.extend([n, n + 1]);
                } else {
                    assert!(dropped.is_none(), "acknowledged and missing");
                }
            }
            Step::AddTogether {
                n,
                count,
                dropped,
                at,
            } => {
                let calls = (n..n + count).map(|n| {
                    let store = Arc::clone(store);
                    tokio::spawn(async move {
                        let at = if n % 8 == dropped { at } else { usize::MAX };
                        (n, cut(at, Moment::AtOnce, store.add(n, End::Well)).await)
                    })
                });
                let calls: Vec<_> = calls.collect();
                let mut dropped = Vec::new();
                for call in calls {
                    let (n, result) = within(call).await.unwrap();
                    match result {
                        Some(result) => {
                            assert_eq!(result.is_ok(), rows.insert(n), "{n}: {result:?}");
                        }
                        None => dropped.push(n),
                    }
                }
                let there = settled(store).await;
                rows.extend(dropped.into_iter().filter(|n| there.contains(n)));
            }
            _ => unreachable!("not a call"),
        }
    }
}

/// The rows once what was dropped has ended too: it is ahead of this write.
async fn settled(store: &Store) -> BTreeSet<i64> {
    assert_eq!(within(store.remove(1_000, End::Well)).await.unwrap(), 0);
    store.numbers().await.unwrap()
}

/// The same cases every time, so that what fails once fails again.
const SEED: [u8; 32] = [7; 32];

#[test]
fn any_sequence_of_steps_does_what_the_model_does() {
    watch(|| {
        std::panic::set_hook(Box::new(|panic| {
            // Thousands of panics are part of the cases.
            if panic.payload().downcast_ref::<&str>() != Some(&"as asked") {
                eprintln!("{panic}");
            }
        }));
        let cases = Cases {
            cases: 60,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Cases::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
        let mut runner = TestRunner::new_with_rng(cases, rng);
        let steps = prop::collection::vec(step(), 5..40);
        let checked = runner.run(&steps, |steps| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .unwrap();
            let directory = tempfile::tempdir().unwrap();
            let mut world = World {
                directory,
                store: None,
                crashed: false,
                model: Model::default(),
            };
            runtime.block_on(async {
                world.open(1, Migration::Well, Execution::Auto).await;
                for step in &steps {
                    world.step(step).await;
                }
                // Whatever has happened, the file is in order at the end.
                world.close().await;
                let stored = world.model.version.unwrap();
                world.open(stored, Migration::Well, Execution::Auto).await;
                assert_eq!(
                    world.store().unwrap().numbers().await.unwrap(),
                    world.model.rows
                );
                world.close().await;
            });
            Ok(())
        });
        if let Err(failed) = checked {
            panic!("{failed}");
        }
    });
}
