//! Measures every peer in turn on a server of its own, with a network of several lengths in between.
//!
//! ```text
//! cd benches/postgres && cargo run --release [-- ROUNDS SECONDS]
//! ```

#[path = "../../../dbm-postgres/tests/support/mod.rs"]
mod support;

mod delay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench_postgres::ROWS;
use delay::Delay;
use harness::{Durability, Job, Limit, Report, Result, Workload};
use support::Server;
use tempfile::TempDir;

/// Each is a program beside this one.
const PEERS: [&str; 6] = [
    "dbm",
    "dbm-in-turn",
    "dbm-serializable",
    "sqlx",
    "deadpool",
    "deadpool-serializable",
];
const WORKLOADS: [(Workload, &str); 3] = [
    (Workload::Insert, "insert"),
    (Workload::Increment, "one hot row"),
    (Workload::Read, "read"),
];
const TASKS: [usize; 2] = [1, 64];
const ROUND_TRIPS: [u64; 3] = [0, 1, 3];

/// Calls per second, by what is measured; the median is shown.
type Rates = BTreeMap<(String, usize), Vec<f64>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let seconds: f64 = arguments.next().map_or(Ok(1.0), |text| text.parse())?;
    // The peers are programs of their own, which `cargo run` does not build.
    let build = ["build", "--release", "--quiet", "--bins"];
    let built = Command::new("cargo")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(build)
        .status()?;
    if !built.success() {
        return Err("the peers do not build".into());
    }
    let server = Server::start(&["-c", "fsync=on", "-c", "shared_buffers=256MB"])
        .ok_or("PostgreSQL is not installed")?;
    server.ask("postgres", "CREATE DATABASE bench");
    let places = ROUND_TRIPS
        .map(|milliseconds| Delay::start(server.directory(), Duration::from_millis(milliseconds)));
    let places = places.into_iter().collect::<Result<Vec<_>>>()?;
    let mut rates = Rates::new();
    for round in 0..rounds {
        for (number, (workload, _)) in WORKLOADS.iter().enumerate() {
            for tasks in TASKS {
                let column = number * TASKS.len() + usize::from(tasks > 1);
                let mut note = |row: String, report: &Report| {
                    rates
                        .entry((row, column))
                        .or_default()
                        .push(report.calls_per_second);
                };
                let file = TempDir::new()?;
                note(
                    "dbm, SQLite".to_owned(),
                    &measure("dbm", file.path(), *workload, tasks, seconds)?,
                );
                for (milliseconds, place) in ROUND_TRIPS.iter().zip(&places) {
                    // Each time another one begins.
                    for peer in (0..PEERS.len()).map(|peer| PEERS[(peer + round) % PEERS.len()]) {
                        let report = measure(peer, place.directory(), *workload, tasks, seconds)?;
                        check(&server, &report, peer)?;
                        note(format!("{peer}, {milliseconds} ms"), &report);
                    }
                }
            }
        }
    }
    print(&rates);
    Ok(())
}

/// One process.
fn measure(
    peer: &str,
    place: &Path,
    workload: Workload,
    tasks: usize,
    seconds: f64,
) -> Result<Report> {
    let job = Job {
        workload,
        tasks,
        workers: 2,
        durability: Durability::Full,
        limit: Limit::Time(Duration::try_from_secs_f64(seconds)?),
        path: place.to_owned(),
        rows: ROWS,
    };
    let program: PathBuf = std::env::current_exe()?.with_file_name(peer);
    let output = Command::new(&program).args(job.to_args()).output()?;
    if !output.status.success() {
        return Err(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report: Report = serde_json::from_slice(&output.stdout)?;
    match &report.first_error {
        Some(error) => Err(format!("{peer}: {error}").into()),
        None => Ok(report),
    }
}

/// Every write that was acknowledged is there; then it is taken away.
fn check(server: &Server, report: &Report, peer: &str) -> Result<()> {
    let number = |sql: &str| server.ask("bench", sql).parse::<u64>();
    let inserted = number(&format!("SELECT count(*) FROM item WHERE id > {ROWS}"))?;
    let incremented = number("SELECT n FROM counter")?;
    if (inserted, incremented) != (report.inserted, report.incremented) {
        return Err(format!(
            "{peer}: {inserted} rows and {incremented} increments are there, of {report:?}"
        )
        .into());
    }
    server.ask("bench", &format!("DELETE FROM item WHERE id > {ROWS}"));
    server.ask("bench", "UPDATE counter SET n = 0");
    server.ask("bench", "VACUUM item");
    server.ask("bench", "CHECKPOINT");
    Ok(())
}

fn print(rates: &Rates) {
    let titles = WORKLOADS
        .iter()
        .flat_map(|(_, name)| TASKS.map(|tasks| format!("{name}, {tasks}")));
    let titles: Vec<String> = titles.collect();
    println!("| calls/s | {} |", titles.join(" | "));
    println!("|---|{}", "---:|".repeat(titles.len()));
    let servers = ROUND_TRIPS
        .iter()
        .flat_map(|milliseconds| PEERS.map(|peer| format!("{peer}, {milliseconds} ms")));
    for row in std::iter::once("dbm, SQLite".to_owned()).chain(servers) {
        let cells = (0..titles.len()).map(|column| {
            let mut of_rounds = rates
                .get(&(row.clone(), column))
                .cloned()
                .unwrap_or_default();
            of_rounds.sort_by(f64::total_cmp);
            of_rounds
                .get(of_rounds.len() / 2)
                .map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"))
        });
        println!("| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}
