//! What a backup costs 64 writers: calls a second and the worst call, before it, during it, while the log is drained, and after
//! that.
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
/// The log is short again.
const DRAINED: u64 = 32 << 20;
/// A drain that takes longer is told as not ended.
const LIMIT: Duration = Duration::from_secs(120);

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
    stop: AtomicBool,
}

impl Figures {
    fn tell(&self, phase: &str, since: Instant, log: &Path) {
        let seconds = since.elapsed().as_secs_f64();
        let calls = self.calls.swap(0, Ordering::Relaxed);
        let worst = self.worst_us.swap(0, Ordering::Relaxed) as f64 / 1000.0;
        let rate = calls as f64 / seconds;
        let log = length(log) >> 20;
        println!(
            "{phase:<8} {seconds:7.1} s {rate:9.0} calls/s, worst {worst:7.1} ms, log {log} MiB"
        );
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
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        figures.calls.fetch_add(1, Ordering::Relaxed);
        figures.worst_us.fetch_max(took, Ordering::Relaxed);
    }
    Ok(())
}

async fn measure(directory: PathBuf, mebibytes: u64, at_full_speed: bool) -> Result<()> {
    let store = Store::create(Config::new(directory.join("data"))).await?;
    for _ in 0..mebibytes {
        store.fill().await?;
    }
    let log = directory.join("data/database.db-wal");
    let figures = Arc::<Figures>::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, figures) = (Arc::clone(&store), Arc::clone(&figures));
            tokio::spawn(write(store, figures, writer * 1_000, 256 * mebibytes))
        })
        .collect();
    let phase = |name: &'static str| {
        let (figures, log) = (Arc::clone(&figures), log.clone());
        async move {
            let since = Instant::now();
            tokio::time::sleep(PHASE).await;
            figures.tell(name, since, &log);
        }
    };
    phase("warm-up").await;
    phase("before").await;
    let since = Instant::now();
    let copy = store.back_up(directory.join("copy"));
    if at_full_speed {
        copy.at_full_speed().await?;
    } else {
        copy.await?;
    }
    figures.tell("during", since, &log);
    let since = Instant::now();
    while length(&log) > DRAINED && since.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    figures.tell("drain", since, &log);
    phase("after").await;
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
