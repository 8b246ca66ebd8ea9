//! Three nodes under Patroni with etcd, whose leader is killed again and again while calls write. It takes minutes, so
//! `.ci/long` runs it.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dbm_core::prelude::*;
use dbm_postgres::Postgres;
use support::load::{Load, Store, check};
use support::{binaries, children, kill, unprivileged};
use tempfile::TempDir;

const NODES: u16 = 3;
const ROUNDS: u16 = 10;
const LONGEST: Duration = Duration::from_secs(120);

/// Ports from here on: of etcd, of Patroni, of PostgreSQL.
const ETCD: u16 = 23_790;
const PATRONI: u16 = 23_800;
const POSTGRES: u16 = 23_810;

struct Cluster {
    directory: TempDir,
    etcd: Child,
    nodes: Vec<Option<Child>>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let installed = ["/usr/bin/patroni", "/usr/bin/etcd"];
        let Some(binaries) = binaries().filter(|_| installed.iter().all(|program| Path::new(program).exists())) else {
            println!("SKIPPED: PostgreSQL, Patroni or etcd is not installed (apt-get install postgresql patroni etcd-server)");
            return None;
        };
        let directory = TempDir::new().unwrap();
        if let Some((user, group)) = unprivileged() {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let etcd = run(
            directory.path(),
            &format!(
                "etcd --data-dir etcd --listen-client-urls http://127.0.0.1:{ETCD} --advertise-client-urls http://127.0.0.1:{ETCD} \
                 --listen-peer-urls http://127.0.0.1:{peer} --initial-advertise-peer-urls http://127.0.0.1:{peer} \
                 --initial-cluster default=http://127.0.0.1:{peer}",
                peer = ETCD + 1
            ),
            ":",
        );
        let mut cluster = Self {
            directory,
            etcd,
            nodes: (0..NODES).map(|_| None).collect(),
        };
        for node in 0..NODES {
            let settings = settings(cluster.directory.path(), &binaries, node);
            fs::write(cluster.directory.path().join(format!("{node}.yml")), settings).unwrap();
            cluster.run(node);
        }
        Some(cluster)
    }

    fn run(&mut self, node: u16) {
        let ends = format!("kill -9 $(head -1 {node}/postmaster.pid)");
        let child = run(self.directory.path(), &format!("patroni {node}.yml"), &ends);
        self.nodes[usize::from(node)] = Some(child);
    }

    /// What one node is asked by a load balancer.
    fn is(node: u16, role: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", PATRONI + node)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut answer = String::new();
        let asked = write!(stream, "GET /{role} HTTP/1.0\r\n\r\n");
        let _ = asked.and_then(|()| stream.read_to_string(&mut answer).map(drop));
        answer.lines().next().is_some_and(|line| line.contains(" 200 "))
    }

    fn leader() -> Option<u16> {
        (0..NODES).find(|node| Self::is(*node, "leader"))
    }

    /// Waits until a leader writes, and a standby has all of it.
    async fn whole(&self) -> u16 {
        let began = Instant::now();
        loop {
            if let Some(leader) = Self::leader()
                && (0..NODES).any(|node| Self::is(node, "sync"))
                && (0..NODES).all(|node| node == leader || Self::is(node, "replica"))
            {
                return leader;
            }
            assert!(began.elapsed() < LONGEST, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// `kill -9` of a node's PostgreSQL and, if the machine is to be gone, of its Patroni.
    fn kill(&mut self, node: u16, machine: bool) {
        let pid = self.directory.path().join(format!("{node}/postmaster.pid"));
        let postmaster = fs::read_to_string(pid).unwrap();
        let postmaster = postmaster.lines().next().unwrap().trim().to_owned();
        let shell = self.nodes[usize::from(node)].as_ref().unwrap().id().to_string();
        let mut all = vec![];
        if machine {
            all.extend(children(&shell));
        }
        kill("-STOP", [postmaster.clone()]);
        all.extend(children(&postmaster));
        all.push(postmaster);
        kill("-KILL", all);
        if machine && let Some(mut shell) = self.nodes[usize::from(node)].take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let nodes = self.nodes.iter_mut().flatten();
        for child in nodes.chain(std::iter::once(&mut self.etcd)) {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Runs a program as long as this process lives.
fn run(directory: &Path, program: &str, ends: &str) -> Child {
    let script = format!("{program} >> log 2>&1 & program=$!; cat; kill -9 $program; {ends}; wait");
    let mut command = Command::new("/bin/sh");
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command.current_dir(directory).args(["-c", &script]).env("HOME", directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Twenty seconds are the shortest time to live that Patroni takes.
fn settings(directory: &Path, binaries: &PathBuf, node: u16) -> String {
    let (patroni, postgres) = (PATRONI + node, POSTGRES + node);
    let (data, binaries) = (directory.join(node.to_string()), binaries.display());
    format!(
        "scope: dbm
name: node{node}
restapi: {{listen: '127.0.0.1:{patroni}', connect_address: '127.0.0.1:{patroni}'}}
etcd3: {{host: '127.0.0.1:{ETCD}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    primary_start_timeout: 0
    master_start_timeout: 0
    synchronous_mode: true
    postgresql: {{use_pg_rewind: true, parameters: {{wal_log_hints: 'on', max_connections: 100, wal_keep_size: 512MB}}}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, {{auth: trust}}, no-sync]
postgresql:
  listen: '127.0.0.1:{postgres}'
  connect_address: '127.0.0.1:{postgres}'
  data_dir: {data}
  bin_dir: {binaries}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
  authentication: {{superuser: {{username: tester}}, replication: {{username: replicator}}, rewind: {{username: rewinder}}}}
  parameters: {{unix_socket_directories: '{socket}', fsync: 'off'}}
",
        data = data.display(),
        socket = directory.display(),
    )
}

fn ask(sql: &str) -> String {
    let hosts = ["127.0.0.1"; NODES as usize].join(",");
    let ports: Vec<_> = (0..NODES).map(|node| (POSTGRES + node).to_string()).collect();
    let server = format!("host={hosts} port={} user=tester dbname=postgres target_session_attrs=read-write", ports.join(","));
    let output = Command::new("psql").args(["-X", "-A", "-t", "-q", "-c", sql, "-d", &server]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and needs Patroni and etcd: `.ci/long` runs it"]
async fn a_leader_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.whole().await;
    let hosts = ["127.0.0.1"; NODES as usize].join(",");
    let ports: Vec<_> = (0..NODES).map(|node| (POSTGRES + node).to_string()).collect();
    let server = format!("host={hosts} port={} user=tester dbname=postgres target_session_attrs=read-write", ports.join(","));
    let mut stores = Vec::new();
    for _ in 0..2 {
        let postgres = Postgres::new(&server).unwrap().schema("shop").patience(LONGEST);
        let config = Config::from(postgres).acquire_timeout(LONGEST);
        stores.push(Store::create(config).await.unwrap());
    }
    let load = Load::start(&stores, 16);
    for round in 0..ROUNDS {
        let leader = cluster.whole().await;
        load.progress(100).await;
        let is_machine = round % 2 == 1;
        let began = Instant::now();
        cluster.kill(leader, is_machine);
        // Those that were on their way when it was killed do not count.
        load.progress(40).await;
        let gone = if is_machine { "its machine" } else { "PostgreSQL" };
        println!("round {round}: node {leader}, {gone}: writes go on after {:.1?}", began.elapsed());
        if is_machine {
            cluster.run(leader);
        }
    }
    let outcomes = load.end().await;
    cluster.whole().await;
    let there = |sql: &str| ask(&sql.replace("FROM ", "FROM shop."));
    check(there, &outcomes, &format!("{ROUNDS} failovers"));
    for store in stores {
        store.close().await.unwrap();
    }
}
