//! Three nodes of PostgreSQL under Patroni, on this machine: the leader is killed, or cut off, while calls write.
//!
//! ```text
//! cargo run --release -p dbm-postgres --example failover -- [ROUNDS] [--partitions]
//! ```
//!
//! It needs `patroni`, `etcd` and PostgreSQL 15, and for `--partitions` root on Linux. It fails if a write that was acknowledged
//! is lost, or one that failed is there.

mod cluster;
mod network;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cluster::Cluster;
use dbm_core::DbManager as _;
use network::Network;
use support::load::{Load, Store, check};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Calls that have to be acknowledged between two faults.
const BETWEEN: usize = 500;

/// After this long without progress, the cluster has failed and not the library.
const LIMIT: Duration = Duration::from_secs(180);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let partitions = arguments.iter().any(|argument| argument == "--partitions");
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok());
    let network = if partitions {
        Network::namespaces()?
    } else {
        Network::loopback()
    };
    let mut cluster = Cluster::start(&network).await?;
    let mut stores = Vec::new();
    // Two managers, as two processes would have.
    for _ in 0..2 {
        stores.push(Store::create(dbm_postgres::config(&cluster.description())?).await?);
    }
    let load = Load::start(&stores, 16);
    progress(&load, BETWEEN).await?;
    for round in 1..=rounds.unwrap_or(10) {
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
        // A commit waits for the standby, which has to find the new leader first.
        cluster.is_followed(next).await?;
        let followed = began.elapsed();
        progress(&load, 1).await?;
        let acknowledged = began.elapsed();
        println!(
            "round {round}: node {leader} {fault}; node {next} leads after {:.1} s, a standby follows it {:.1} s later, \
             and a call is acknowledged {:.1} s after that",
            promoted.as_secs_f64(),
            followed.saturating_sub(promoted).as_secs_f64(),
            acknowledged.saturating_sub(followed).as_secs_f64(),
        );
        progress(&load, BETWEEN).await?;
        if partitions {
            network.heal(leader)?;
        } else {
            cluster.revive(leader)?;
        }
        cluster.all_follow().await?;
    }
    progress(&load, BETWEEN).await?;
    let outcomes = load.end().await;
    for store in stores {
        store.close().await?;
    }
    let leader = cluster.leader().await?;
    let ask = |sql: &str| {
        cluster
            .ask(leader, sql)
            .unwrap_or_else(|error| error.to_string())
    };
    check(ask, &outcomes, "failovers");
    Ok(())
}

async fn progress(load: &Load, calls: usize) -> Result<()> {
    let waited = tokio::time::timeout(LIMIT, load.progress(calls)).await;
    waited.map_err(|_| "no call is acknowledged any more".into())
}
