//! PostgreSQL servers of these tests alone: made in a temporary directory, reached by a socket in it, gone with the process.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each binary of tests uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

pub mod load;
pub mod proxy;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A time after which a test has hung.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A server with one database after the other in it.
pub struct Server {
    directory: TempDir,
    binaries: PathBuf,
    options: Vec<String>,
    postmaster: Mutex<Option<Child>>,
}

/// The server that the tests of a binary share, or a word that there is none.
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[])).as_ref()
}

/// Says so where the output of tests that pass is not shown, too.
pub fn skipped(why: &str) {
    let mut log = std::io::stderr();
    writeln!(log, "SKIPPED: {why}").unwrap();
}

impl Server {
    /// `None` where PostgreSQL is not installed.
    pub fn start(options: &[&str]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            skipped("PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let directory = TempDir::new().unwrap();
        let server = Self {
            directory,
            binaries,
            options: options.iter().map(ToString::to_string).collect(),
            postmaster: Mutex::default(),
        };
        if let Some((user, group)) = unprivileged() {
            chown(server.directory.path(), Some(user), Some(group)).unwrap();
        }
        let made = server
            .command("initdb")
            .args([
                "-U",
                "tester",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.run();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// One of PostgreSQL's programs. As root it runs as somebody else: PostgreSQL refuses root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        if let Some((user, group)) = unprivileged() {
            command.uid(user).gid(group);
        }
        command.current_dir(self.directory.path());
        command
    }

    /// Starts it, and returns once it answers.
    pub fn run(&self) {
        self.run_with(&[]);
    }

    /// The same, with other options than before.
    pub fn run_with(&self, options: &[&str]) {
        // The shell ends the server when this process has ended, however that came: then its input is closed.
        let script = r#""$@" >> log 2>&1 & server=$!; echo $server > pid; cat; kill -QUIT $server; wait $server"#;
        let mut command = Command::new("/bin/sh");
        if let Some((user, group)) = unprivileged() {
            command.uid(user).gid(group);
        }
        let child = command
            .current_dir(self.directory.path())
            .args(["-c", script, "sh"])
            .arg(self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path())
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
            ])
            .args(&self.options)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.child() = Some(child);
        let began = Instant::now();
        while !self.psql("postgres", "SELECT 1").status.success() {
            assert!(began.elapsed() < LIMIT, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.postmaster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new("psql")
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "tester",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(self.directory.path())
            .output()
            .unwrap()
    }

    /// What a statement answers, without this library.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A new database, and how it is reached.
    pub fn database(&self) -> Database<'_> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    fn postmaster(&self) -> String {
        let pid = fs::read_to_string(self.directory.path().join("pid")).unwrap();
        pid.trim().to_owned()
    }

    /// `kill -9` of all its processes at once.
    pub fn kill(&self) {
        let postmaster = self.postmaster();
        // Stopped first, so that it starts no other one meanwhile.
        kill("-STOP", [postmaster.clone()]);
        let mut all = children(&postmaster);
        all.push(postmaster);
        kill("-KILL", all.clone());
        if let Some(mut child) = self.child().take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        while all
            .iter()
            .any(|process| Path::new("/proc").join(process).join("fd").exists())
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Ends it as an operator does.
    pub fn stop(&self) {
        kill("-INT", [self.postmaster()]);
        if let Some(mut child) = self.child().take() {
            while Path::new("/proc")
                .join(self.postmaster())
                .join("fd")
                .exists()
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// A file of its data directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// A database of one test.
pub struct Database<'s> {
    pub server: &'s Server,
    pub name: String,
}

impl Database<'_> {
    /// How it is described to this library.
    pub fn description(&self) -> String {
        self.behind(self.server.directory())
    }

    /// The same, by the socket in another directory.
    pub fn behind(&self, directory: &Path) -> String {
        format!(
            "host={} user=tester dbname={}",
            directory.display(),
            self.name
        )
    }

    pub fn ask(&self, sql: &str) -> String {
        self.server.ask(&self.name, sql)
    }
}

/// Sends a signal to processes that a test has started.
pub fn kill(signal: &str, processes: impl IntoIterator<Item = String>) {
    Command::new("kill")
        .arg(signal)
        .args(processes)
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// The processes that a process has started, as Linux tells them.
pub fn children(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| {
        let pid = entry.file_name().into_string().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // Behind the name, which is in parentheses: the state, and the parent.
        let parent_of = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .to_owned();
        (parent_of == parent).then_some(pid)
    });
    processes.collect()
}

pub fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("postgres"));
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let debian = debian.map(|release| release.path().join("bin/postgres"));
    let found = in_path.chain(debian).find(|program| program.exists())?;
    Some(found.canonicalize().ok()?.parent()?.to_owned())
}

/// Who runs the server if these tests are root: the user that Debian's package makes, or nobody.
pub fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let id = |user: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    id("postgres").or_else(|| id("nobody"))
}
