//! How much the store writes to the disk, as the kernel counts it: readings, roll-ups, the log and its checkpoints.
//!
//! `cargo test -p monitor-bot --test writes` prints the table of the README. It has no harness, for the kernel counts what
//! the whole process writes.
#![cfg(target_os = "linux")]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "of the modules of the program it uses a part"
)]

#[macro_use]
#[path = "../src/error.rs"]
mod error;

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/metric.rs"]
mod metric;
#[path = "../src/rules/mod.rs"]
mod rules;
#[path = "../src/sampler/mod.rs"]
mod sampler;
#[path = "../src/settings.rs"]
mod settings;
#[path = "../src/span.rs"]
mod span;
#[path = "../src/store/mod.rs"]
mod store;

use std::fs;
use std::path::Path;

use dbm_core::prelude::*;

use sampler::{Fake, Reading, Sampler};
use settings::Retention;
use store::{Store, Unstored};

/// 2026-01-01 00:00 UTC.
const BEGINNING: i64 = 1_767_225_600;

impl Store {
    /// A day more than the two weeks that minutes are kept, of every metric there is.
    #[database_safe]
    async fn fill(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(
            "WITH RECURSIVE time (at) AS (SELECT ?1 - 6 * 3600 + 5 UNION ALL SELECT at + 5 FROM time WHERE at < ?1)
             INSERT INTO reading (at, samples)
             SELECT at, jsonb_group_object(CAST(id AS TEXT), at % 1000 / 7.0) FROM time, metric GROUP BY at",
            (BEGINNING,),
        )
        .await?;
        db.execute(
            "WITH RECURSIVE time (at) AS (SELECT ?1 - 15 * 86400 UNION ALL SELECT at + 60 FROM time WHERE at < ?1 - 6 * 3600 - 60)
             INSERT INTO minute SELECT id, at, at % 1000 / 7.0, at % 1000 / 5.0, at % 1000, 12 FROM metric, time",
            (BEGINNING,),
        )
        .await?;
        Ok(())
    }
}

/// The bytes for which this process made the kernel write to a disk.
fn written() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap();
    let mut lines = counts.lines();
    let count = lines.find_map(|line| line.strip_prefix("write_bytes: "));
    count.unwrap().parse().unwrap()
}

/// What the bot does with a reading.
async fn record(store: &Store, reading: &Reading) {
    let mut state = store.rule_state().await.unwrap();
    let events = state.weigh(reading).into_iter().map(Unstored::new);
    let events: Vec<_> = events.collect();
    store.record(reading, &state, &events).await.unwrap();
}

/// Runs for an hour of readings; gives what each reading has written, and what everything together has in a minute.
async fn an_hour(folder: &Path, watched: usize) -> (u64, u64) {
    let names: Vec<_> = (0..watched).map(|name| format!("name-{name}")).collect();
    let mut sampler = Fake::new(1);
    let config = Config::new(folder).job_workers(0);
    let fast = config.clone().durability(Durability::Off);
    let store = Store::open(fast, Retention::default(), Vec::new(), None);
    let first = sampler.read(BEGINNING - 15 * 86_400, &names);
    record(&store, &first).await;
    store.fill().await.unwrap();
    store.close().await.unwrap();

    let store = Store::open(config, Retention::default(), Vec::new(), None);
    store.ensure_ready().await.unwrap();
    let before = written();
    for at in (BEGINNING + 5..=BEGINNING + 3_600).step_by(5) {
        record(&store, &sampler.read(at, &names)).await;
    }
    let readings = written();
    store.roll_up().await.unwrap();
    let rolled_up = written();
    // That is due once a day.
    store.forget().await.unwrap();
    let forgot = written();
    store.close().await.unwrap();
    let minute = (rolled_up - before) / 60 + (forgot - rolled_up) / 1_440;
    ((readings - before) / 720, minute)
}

#[tokio::main]
async fn main() {
    println!("metrics  bytes a reading  bytes a minute");
    for (watched, limit) in [(0, 300_000), (50, 1_000_000)] {
        // Not in the system's folder for temporary files, which may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (reading, minute) = an_hour(folder.path(), watched).await;
        println!("{:>7}  {reading:>15}  {minute:>14}", 17 + 3 * watched);
        assert!(minute < limit, "it writes more than {limit} bytes a minute");
    }
}
