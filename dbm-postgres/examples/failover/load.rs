//! Calls that write, and what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dbm_core::prelude::*;
use tokio::task::JoinHandle;

/// After this long without progress, the cluster has failed and not the library.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY)")
            .await
    }
}

impl Store {
    #[database_safe(timeout = "20s")]
    async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        Ok(())
    }
}

/// What became of the calls, by id.
#[derive(Default)]
pub(crate) struct Outcomes {
    acknowledged: BTreeSet<i64>,
    failed: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
    why: BTreeMap<String, usize>,
}

/// 16 tasks of two managers, as two processes would have.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    stores: Vec<Arc<Store>>,
    tasks: Vec<JoinHandle<Outcomes>>,
}

impl Load {
    pub(crate) async fn start(description: &str) -> crate::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let acknowledged = Arc::<AtomicUsize>::default();
        let next = Arc::<AtomicI64>::default();
        let mut stores = Vec::new();
        for _ in 0..2 {
            stores.push(Store::create(dbm_postgres::config(description)?).await?);
        }
        let tasks = (0..16).map(|task| {
            let store = Arc::clone(&stores[task % stores.len()]);
            let (stop, acknowledged, next) = (
                Arc::clone(&stop),
                Arc::clone(&acknowledged),
                Arc::clone(&next),
            );
            tokio::spawn(async move {
                let mut outcomes = Outcomes::default();
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match store.insert(id).await {
                        Ok(()) => {
                            outcomes.acknowledged.insert(id);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let unknown = matches!(error, Error::CommitUnknown { .. });
                            let ids = if unknown {
                                &mut outcomes.unknown
                            } else {
                                &mut outcomes.failed
                            };
                            ids.insert(id);
                            *outcomes.why.entry(error.to_string()).or_default() += 1;
                        }
                    }
                }
                outcomes
            })
        });
        Ok(Self {
            tasks: tasks.collect(),
            stop,
            acknowledged,
            stores,
        })
    }

    /// Waits until so many more calls have been acknowledged.
    pub(crate) async fn progress(&self, calls: usize) -> crate::Result<()> {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + calls;
        let began = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            if began.elapsed() > LIMIT {
                return Err("no call is acknowledged any more".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    pub(crate) async fn end(self) -> crate::Result<Outcomes> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcomes::default();
        for task in self.tasks {
            let outcomes = task.await?;
            all.acknowledged.extend(outcomes.acknowledged);
            all.failed.extend(outcomes.failed);
            all.unknown.extend(outcomes.unknown);
            for (why, count) in outcomes.why {
                *all.why.entry(why).or_default() += count;
            }
        }
        for store in self.stores {
            store.close().await?;
        }
        Ok(all)
    }
}

impl Outcomes {
    /// Whether all that was acknowledged is there, and nothing that failed.
    pub(crate) fn compare(&self, there: &BTreeSet<i64>) -> crate::Result<bool> {
        let lost = self.acknowledged.difference(there).count();
        let revived = self.failed.intersection(there).count();
        for (why, count) in &self.why {
            println!("{count:8} {why}");
        }
        println!(
            "{} acknowledged, {} failed, {} unknown ({} of them there), {lost} lost, {revived} there although they failed",
            self.acknowledged.len(),
            self.failed.len(),
            self.unknown.len(),
            self.unknown.intersection(there).count(),
        );
        Ok(lost == 0 && revived == 0)
    }
}
