//! Three nodes of PostgreSQL under Patroni, on this machine: the leader is killed, or cut off, while calls write.
//!
//! ```text
//! cargo run --release -p dbm-postgres --example failover -- [ROUNDS] [--partitions]
//! ```
//!
//! It needs `patroni`, `etcd` and PostgreSQL 15, and for `--partitions` root on Linux. It exits with 1 if a write that was
//! acknowledged is lost, or one that failed is there.

mod cluster;
mod load;
mod network;

use std::process::ExitCode;
use std::time::Instant;

use cluster::Cluster;
use load::Load;
use network::Network;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Calls that have to be acknowledged between two faults.
const BETWEEN: usize = 500;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let partitions = arguments.iter().any(|argument| argument == "--partitions");
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok());
    match run(rounds.unwrap_or(10), partitions).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(rounds: usize, partitions: bool) -> Result<bool> {
    let network = if partitions {
        Network::namespaces()?
    } else {
        Network::loopback()
    };
    let mut cluster = Cluster::start(&network).await?;
    let load = Load::start(&cluster.description()).await?;
    load.progress(BETWEEN).await?;
    for round in 1..=rounds {
        let leader = cluster.leader().await?;
        let began = Instant::now();
        // Cut off from the other nodes alone, the old leader still hears the calls; cut off from all, nobody hears it.
        let fault = match (partitions, round % 2) {
            (false, _) => "killed",
            (true, 1) => "cut off from the other nodes",
            (true, _) => "cut off from all",
        };
        match fault {
            "killed" => cluster.kill(leader)?,
            "cut off from all" => network.unplug(leader)?,
            _ => network.cut_off(leader)?,
        }
        let next = cluster.other_leader(leader).await?;
        let promoted = began.elapsed();
        load.progress(1).await?;
        let acknowledged = began.elapsed();
        println!(
            "round {round}: node {leader} {fault}; node {next} leads after {:.1} s, the first call is acknowledged {:.1} s later",
            promoted.as_secs_f64(),
            acknowledged.saturating_sub(promoted).as_secs_f64(),
        );
        load.progress(BETWEEN).await?;
        if partitions {
            network.heal(leader)?;
        } else {
            cluster.revive(leader)?;
        }
        cluster.all_follow().await?;
    }
    load.progress(BETWEEN).await?;
    let outcomes = load.end().await?;
    let leader = cluster.leader().await?;
    outcomes.compare(&cluster.ids(leader)?)
}
