//! A server, or a process of it, that is killed while calls write: what was acknowledged is there, and what has failed is not.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};
use support::{Database, LIMIT, Server};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY); CREATE TABLE total (n bigint); INSERT INTO total VALUES (0)")
            .await
    }
}

impl Store {
    /// The row and the count are one transaction.
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        db.execute("UPDATE total SET n = n + 1", ()).await?;
        Ok(())
    }
}

/// What became of the calls, by id.
#[derive(Default)]
struct Outcomes {
    acknowledged: BTreeSet<i64>,
    failed: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
    why: BTreeMap<String, usize>,
}

/// Calls of several tasks and managers, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Outcomes>>,
}

impl Load {
    fn start(stores: &[Arc<Store>], tasks: usize) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let next = Arc::<AtomicI64>::default();
        let tasks = (0..tasks).map(|task| {
            let (store, next) = (Arc::clone(&stores[task % stores.len()]), Arc::clone(&next));
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut outcomes = Outcomes::default();
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match store.insert(id).await {
                        Ok(()) => {
                            outcomes.acknowledged.insert(id);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::CommitUnknown { .. }) => drop(outcomes.unknown.insert(id)),
                        Err(error) => {
                            outcomes.failed.insert(id);
                            *outcomes.why.entry(error.to_string()).or_default() += 1;
                        }
                    }
                }
                outcomes
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
            acknowledged,
        }
    }

    /// Waits until so many more calls have been acknowledged.
    async fn progress(&self, calls: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + calls;
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcomes::default();
        for task in self.tasks {
            let outcomes = task.await.unwrap();
            all.acknowledged.extend(outcomes.acknowledged);
            all.failed.extend(outcomes.failed);
            all.unknown.extend(outcomes.unknown);
            for (why, count) in outcomes.why {
                *all.why.entry(why).or_default() += count;
            }
        }
        all
    }
}

fn check(database: &Database<'_>, outcomes: &Outcomes, what: &str) {
    let there = database.ask("SELECT id FROM item");
    let there: BTreeSet<i64> = there.lines().map(|id| id.parse().unwrap()).collect();
    let lost: Vec<_> = outcomes.acknowledged.difference(&there).collect();
    let revived: Vec<_> = outcomes.failed.intersection(&there).collect();
    println!(
        "{what}: {} acknowledged, {} failed, {} unknown, {} lost, {} there although they failed",
        outcomes.acknowledged.len(),
        outcomes.failed.len(),
        outcomes.unknown.len(),
        lost.len(),
        revived.len(),
    );
    for (why, count) in &outcomes.why {
        println!("{count:8} {why}");
    }
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(revived.is_empty(), "failed, but there: {revived:?}");
    assert_eq!(database.ask("SELECT n FROM total"), there.len().to_string());
}

async fn stores(database: &Database<'_>, count: usize, writers: Writers) -> Vec<Arc<Store>> {
    let mut stores = Vec::new();
    for _ in 0..count {
        let postgres = Postgres::new(&database.description())
            .unwrap()
            .writers(writers);
        let config = Config::from(postgres).acquire_timeout(Duration::from_secs(20));
        stores.push(Store::create(config).await.unwrap());
    }
    stores
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work)
        .await
        .expect("the test has hung")
}

async fn kill_the_server(writers: Writers) {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let database = server.database();
    let stores = stores(&database, 2, writers).await;
    let load = Load::start(&stores, 16);
    for round in 0..8 {
        // Each time at another moment of a call.
        load.progress(50 + 7 * round).await;
        server.kill();
        server.run();
    }
    load.progress(50).await;
    let outcomes = load.end().await;
    check(
        &database,
        &outcomes,
        &format!("kill -9 of the server, {writers:?}"),
    );
    assert!(
        outcomes.unknown.is_empty(),
        "the server was there again, so each outcome can be told"
    );
    for store in stores {
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    within(async {
        for writers in [Writers::Sharing, Writers::InTurn, Writers::Serializable] {
            kill_the_server(writers).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_process_of_the_server_loses_nothing_that_was_acknowledged() {
    within(async {
        let Some(server) = Server::start(&[]) else { return };
        for writers in [Writers::Sharing, Writers::InTurn, Writers::Serializable] {
            let database = server.database();
            let stores = stores(&database, 2, writers).await;
            let load = Load::start(&stores, 16);
            for _ in 0..30 {
                load.progress(20).await;
                database.ask(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'dbm' \
                     AND datname = current_database() AND random() < 0.5",
                );
            }
            load.progress(50).await;
            let outcomes = load.end().await;
            check(&database, &outcomes, &format!("terminated processes, {writers:?}"));
            assert!(outcomes.unknown.is_empty());
            for store in stores {
                store.close().await.unwrap();
            }
        }
    })
    .await;
}
