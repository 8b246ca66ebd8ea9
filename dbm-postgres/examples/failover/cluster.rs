//! etcd, and three nodes that Patroni runs.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::network::{NODES, Network};
use crate::support::{binaries, children, kill, unprivileged};

const POSTGRES: u16 = 5477;
const PATRONI: u16 = 8077;
const ETCD: u16 = 2377;

/// A cluster takes up to half a minute for a failover, and longer to copy a node anew.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Cluster<'n> {
    network: &'n Network,
    directory: TempDir,
    nodes: Vec<Option<Child>>,
    etcd: Child,
    /// Who runs PostgreSQL, which refuses root.
    user: Option<(u32, u32)>,
}

impl<'n> Cluster<'n> {
    pub(crate) async fn start(network: &'n Network) -> Result<Self> {
        let directory = TempDir::new()?;
        let user = unprivileged();
        if let Some((user, group)) = user {
            chown(directory.path(), Some(user), Some(group))?;
        }
        let address = network.etcd_address();
        let clients = format!("http://{address}:{ETCD}");
        let mut etcd = Command::new("etcd");
        etcd.args([
            "--log-level",
            "error",
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ])
        .args([
            "--listen-peer-urls",
            &format!("http://{address}:{}", ETCD + 1),
            "--unsafe-no-fsync",
        ])
        .arg("--data-dir")
        .arg(directory.path().join("etcd"));
        let etcd = spawn(etcd, &directory.path().join("etcd.log"))?;
        let mut cluster = Self {
            network,
            directory,
            nodes: Vec::new(),
            etcd,
            user,
        };
        for node in 0..NODES {
            cluster.configure(node)?;
            cluster.nodes.push(None);
            cluster.revive(node)?;
            if node == 0 {
                cluster.leader().await?;
            }
        }
        cluster.all_follow().await?;
        Ok(cluster)
    }

    /// How the library is told of it.
    pub(crate) fn description(&self) -> String {
        let hosts: Vec<_> = (0..NODES).map(|node| self.network.address(node)).collect();
        format!(
            "host={} port={POSTGRES} user=tester dbname=postgres target_session_attrs=read-write connect_timeout=2",
            hosts.join(",")
        )
    }

    fn place(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("node{node}"))
    }

    /// Without a synchronous standby an acknowledged write is on one machine alone, and a failover would lose it.
    fn configure(&self, node: usize) -> Result<()> {
        let (network, place) = (self.network, self.place(node));
        fs::create_dir(&place)?;
        let (address, etcd, place_text) = (
            network.address(node),
            network.etcd_address(),
            place.display(),
        );
        let text = format!(
            "\
scope: dbm
name: node{node}
restapi: {{listen: '{address}:{PATRONI}', connect_address: '{address}:{PATRONI}'}}
etcd3: {{host: '{etcd}:{ETCD}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 3
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters: {{wal_log_hints: 'on', max_connections: 100, wal_keep_size: 256MB, wal_retrieve_retry_interval: 200ms}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, no-sync]
postgresql:
  listen: '{address}:{POSTGRES}'
  connect_address: '{address}:{POSTGRES}'
  bin_dir: '{bin}'
  data_dir: '{place_text}/data'
  pgpass: '{place_text}/pgpass'
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication:
    superuser: {{username: tester}}
    replication: {{username: tester}}
    rewind: {{username: tester}}
  parameters: {{unix_socket_directories: '{place_text}'}}
  pg_hba: ['local all all trust', 'host all all 0.0.0.0/0 trust', 'host replication all 0.0.0.0/0 trust']
",
            bin = binaries().ok_or("PostgreSQL is not installed")?.display(),
        );
        fs::write(place.join("patroni.yml"), text)?;
        if let Some((user, group)) = self.user {
            chown(&place, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// Starts a node that does not run.
    pub(crate) fn revive(&mut self, node: usize) -> Result<()> {
        let place = self.place(node);
        let mut words = self.network.entry(node);
        if let Some((user, group)) = self.user {
            // Entering a namespace needs root, so the user changes behind it.
            words.extend(["setpriv".to_owned(), "--clear-groups".to_owned()]);
            words.extend([format!("--reuid={user}"), format!("--regid={group}")]);
        }
        words.push("patroni".to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(place.join("patroni.yml"));
        self.nodes[node] = Some(spawn(command, &place.join("log"))?);
        Ok(())
    }

    /// `kill -9` of Patroni and of all processes of its PostgreSQL at once.
    pub(crate) fn kill(&mut self, node: usize) -> Result<()> {
        let Some(mut patroni) = self.nodes[node].take() else {
            return Ok(());
        };
        let postmaster =
            fs::read_to_string(self.place(node).join("data/postmaster.pid")).unwrap_or_default();
        let postmaster = postmaster
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let mut all = vec![patroni.id().to_string()];
        if !postmaster.is_empty() {
            kill("-STOP", [postmaster.clone()]);
            all.extend(children(&postmaster));
            all.push(postmaster);
        }
        kill("-KILL", all);
        patroni.wait()?;
        Ok(())
    }

    /// The node that leads.
    pub(crate) async fn leader(&self) -> Result<usize> {
        self.until("a leader", |cluster| {
            (0..NODES).find(|node| cluster.says(*node, "/primary"))
        })
        .await
    }

    /// Another node that leads. The old one may not have noticed yet.
    pub(crate) async fn other_leader(&self, old: usize) -> Result<usize> {
        let leads = |cluster: &Self| {
            (0..NODES).find(|node| *node != old && cluster.says(*node, "/primary"))
        };
        self.until("a new leader", leads).await
    }

    /// Waits until a commit of this leader finds the standby that it waits for.
    pub(crate) async fn is_followed(&self, leader: usize) -> Result<()> {
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let follows = |cluster: &Self| {
            let count = cluster.ask(leader, sql).unwrap_or_default();
            (!count.is_empty() && count != "0").then_some(())
        };
        self.until("a standby that follows", follows).await
    }

    /// Waits until all nodes are there, and one of them has all that the leader acknowledges.
    pub(crate) async fn all_follow(&self) -> Result<()> {
        let follow = |cluster: &Self| {
            let count = |path| (0..NODES).filter(|node| cluster.says(*node, path)).count();
            (count("/primary") == 1 && count("/replica") == NODES - 1 && count("/sync") >= 1)
                .then_some(())
        };
        self.until("all nodes", follow).await
    }

    async fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = tokio::task::block_in_place(|| found(self)) {
                return Ok(found);
            }
            if began.elapsed() > LIMIT {
                return Err(format!(
                    "{what}: not there after {} s{}",
                    LIMIT.as_secs(),
                    self.logs()
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for node in 0..NODES {
            let log = fs::read_to_string(self.place(node).join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(10)..].join("\n");
            text.push_str(&format!("\nnode {node}:\n{end}"));
        }
        text
    }

    /// Whether Patroni answers this question with yes.
    fn says(&self, node: usize, path: &str) -> bool {
        let ask = || -> Result<bool> {
            let address = format!("{}:{PATRONI}", self.network.address(node));
            let mut stream =
                TcpStream::connect_timeout(&address.parse()?, Duration::from_millis(300))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.split(' ').nth(1) == Some("200"))
        };
        ask().unwrap_or(false)
    }

    /// What a statement answers, without this library.
    pub(crate) fn ask(&self, node: usize, sql: &str) -> Result<String> {
        let output = Command::new("psql")
            .args([
                "-X", "-A", "-t", "-q", "-U", "tester", "-d", "postgres", "-c", sql, "-h",
            ])
            .args([&self.network.address(node), "-p", &POSTGRES.to_string()])
            .output();
        let output = output?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            let _ = self.kill(node);
        }
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

fn spawn(mut command: Command, log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|error| format!("{program}: {error}").into())
}
