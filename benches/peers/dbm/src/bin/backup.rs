//! What a backup costs 64 writers: calls a second and the worst call, while it copies, while it checks the copy, and in between.
//!
//! `backup <directory> [<MiB> [full-speed]]`: the directory must be on a real disk, and is left as it is afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbm_core::prelude::*;

const WRITERS: u64 = 64;
/// How long the phases without a backup take.
const PHASE: Duration = Duration::from_secs(10);
/// Backups, one after the other: the machine may do other things meanwhile.
const ROUNDS: usize = 3;
/// No call should take longer.
const LONG: Duration = Duration::from_millis(100);

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT")
            .await
    }
}

impl Store {
    /// A MiB.
    #[database_safe]
    async fn fill(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 256)
            INSERT INTO item (data) SELECT randomblob(4000) FROM n";
        db.execute(sql, ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn change(&self, db: &mut WriteTransaction, id: u64) -> Result<()> {
        db.execute(
            "UPDATE item SET data = randomblob(4000) WHERE id = ?1",
            (id,),
        )
        .await?;
        Ok(())
    }
}

/// What the writers did since the last look.
#[derive(Default)]
struct Figures {
    calls: AtomicU64,
    worst_us: AtomicU64,
    long: AtomicU64,
    stop: AtomicBool,
}

/// Looks at the figures at the end of each phase.
struct Watch {
    figures: Arc<Figures>,
    log: PathBuf,
    since: Instant,
}

impl Watch {
    fn begin(&mut self) {
        self.figures.take();
        self.since = Instant::now();
    }

    /// Calls a second since the phase began.
    fn end(&mut self, phase: &str) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        let (calls, worst, long) = self.figures.take();
        let rate = calls as f64 / seconds;
        let worst = worst as f64 / 1000.0;
        let log = length(&self.log) >> 20;
        println!(
            "{phase:<8} {seconds:5.1} s {rate:7.0} calls/s, worst {worst:6.1} ms, {long} over {LONG:?}, log {log} MiB"
        );
        self.since = Instant::now();
        rate
    }
}

impl Figures {
    fn take(&self) -> (u64, u64, u64) {
        let take = |number: &AtomicU64| number.swap(0, Ordering::Relaxed);
        (take(&self.calls), take(&self.worst_us), take(&self.long))
    }

    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.worst_us.fetch_max(micros, Ordering::Relaxed);
        self.long
            .fetch_add(u64::from(took > LONG), Ordering::Relaxed);
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

async fn write(store: Arc<Store>, figures: Arc<Figures>, mut id: u64, rows: u64) -> Result<()> {
    while !figures.stop.load(Ordering::Relaxed) {
        // Over the whole file, in no order.
        id = (id + 7_919) % rows;
        let began = Instant::now();
        store.change(id + 1).await?;
        figures.note(began.elapsed());
    }
    Ok(())
}

async fn measure(directory: PathBuf, mebibytes: u64, at_full_speed: bool) -> Result<()> {
    let store = Store::create(Config::new(directory.join("data"))).await?;
    for _ in 0..mebibytes {
        store.fill().await?;
    }
    let figures = Arc::<Figures>::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, figures) = (Arc::clone(&store), Arc::clone(&figures));
            tokio::spawn(write(store, figures, writer * 1_000, 256 * mebibytes))
        })
        .collect();
    let mut watch = Watch {
        figures: Arc::clone(&figures),
        log: directory.join("data/database.db-wal"),
        since: Instant::now(),
    };
    tokio::time::sleep(PHASE).await;
    watch.begin();
    tokio::time::sleep(PHASE).await;
    let mut before = watch.end("before");
    for round in 0..ROUNDS {
        let copy = directory.join(format!("copy-{round}"));
        let began = Instant::now();
        let (mut during, mut is_copied) = (0.0, false);
        let order = store.back_up(&copy).progress(|done, total| {
            if done == total && !is_copied {
                is_copied = true;
                during += watch.since.elapsed().as_secs_f64() * watch.end("copy");
            }
        });
        if at_full_speed {
            order.at_full_speed().await?;
        } else {
            order.await?;
        }
        during += watch.since.elapsed().as_secs_f64() * watch.end("check");
        during /= began.elapsed().as_secs_f64();
        tokio::time::sleep(PHASE).await;
        let after = watch.end("after");
        let ratio = 200.0 * during / (before + after);
        println!(
            "during the backup the writers have {ratio:.0} % of what they have before and after it"
        );
        before = after;
    }
    figures.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.map_err(Error::other)??;
    }
    store.close().await
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or_else(|| Error::other("backup <directory> [<MiB> [full-speed]]"))?;
    let mebibytes = arguments
        .next()
        .map_or(Ok(1024), |number| number.parse())
        .map_err(Error::other)?;
    let at_full_speed = arguments.next().as_deref() == Some("full-speed");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .map_err(Error::other)?;
    runtime.block_on(measure(directory.into(), mebibytes, at_full_speed))
}
