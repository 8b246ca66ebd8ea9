//! Calls that write while something is killed, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
pub struct Store {
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
    pub async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        db.execute("UPDATE total SET n = n + 1", ()).await?;
        Ok(())
    }
}

/// What became of the calls, by id.
#[derive(Default)]
pub struct Outcomes {
    pub acknowledged: BTreeSet<i64>,
    pub failed: BTreeSet<i64>,
    pub unknown: BTreeSet<i64>,
    why: BTreeMap<String, usize>,
}

/// Calls of several tasks and managers, until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Outcomes>>,
}

impl Load {
    pub fn start(stores: &[Arc<Store>], tasks: usize) -> Self {
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
    pub async fn progress(&self, calls: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + calls;
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn end(self) -> Outcomes {
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

/// `ask` runs SQL without this library.
pub fn check(ask: impl Fn(&str) -> String, outcomes: &Outcomes, what: &str) {
    let there = ask("SELECT id FROM item");
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
    assert_eq!(ask("SELECT n FROM total"), there.len().to_string());
}
