//! A database goes to the Python package and comes back.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::testing::run_due_jobs;
use dbm_tests::{Store, names, run, skip};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A Python that the package runs on, with the package.
struct Reference {
    python: PathBuf,
    packages: PathBuf,
}

impl Reference {
    /// Installs the package where it is not yet; tells why that cannot be done.
    fn install(version: &str) -> Result<Self, String> {
        let python = python().ok_or("there is no Python 3.12 or newer")?;
        let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{version}"));
        if !packages.exists() {
            let unfinished = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let output = Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                    "--no-compile",
                    "--retries=0",
                    "--timeout=10",
                ])
                .args(["--ignore-requires-python", "--target"])
                .arg(unfinished.path())
                .args([&format!("smdb-dbm=={version}"), "smdb-logger", "aiosqlite"])
                .output()
                .map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(format!("it cannot be installed: {}", last_line(&output)));
            }
            // Another test may have been first.
            let _ = fs::rename(unfinished.path(), &packages);
        }
        Ok(Self { python, packages })
    }

    /// Opens a database there, and adds notes.
    fn open(&self, directory: &Path, version: &str, new: &[&str]) -> Json {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/interop.py");
        let arguments = [
            self.packages.as_os_str(),
            directory.as_os_str(),
            OsStr::new(version),
        ];
        let output = Command::new(&self.python)
            .arg(script)
            .args(arguments)
            .args(new)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn python() -> Option<PathBuf> {
    let installed = env::var_os("HOME")
        .and_then(|home| fs::read_dir(Path::new(&home).join(".pyenv/versions")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/python3"));
    let named = ["python3", "python3.14", "python3.13", "python3.12"].map(PathBuf::from);
    named.into_iter().chain(installed).find(|python| {
        let check = "import sys, pip; sys.exit(sys.version_info < (3, 12))";
        Command::new(python)
            .args(["-c", check])
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr)
        .trim()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

fn opened(calls: &[&str], ids: &[i64], version: &str) -> Json {
    json!({ "calls": calls, "complaints": [], "ids": ids, "version": version, "status": "STOPPED" })
}

/// The same file, for a program that has jobs.
#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(nothing))]
struct WithJobs {
    core: ManagerCore,
}

dbm_tests::schema!(WithJobs);

impl WithJobs {
    async fn open(path: &Path, version: &str) -> Arc<Self> {
        let version = dbm_core::Version::parse(version).unwrap();
        let config = Config::new(path).version(version).job_workers(0);
        Self::create(config).await.unwrap()
    }

    #[job]
    async fn nothing(&self) -> Result<()> {
        Ok(())
    }

    #[database_safe]
    async fn enqueue(&self, db: &mut WriteTransaction) -> Result<bool> {
        db.enqueue(Self::nothing_job()).await
    }
}

async fn goes_there_and_comes_back(python: &Reference) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    Store::make(path, "1.0.0").await.unwrap();
    let jobs = WithJobs::open(path, "1.0.0").await;
    assert!(jobs.enqueue().await.unwrap());
    jobs.close().await.unwrap();

    assert_eq!(
        python.open(path, "1.0.0", &["2"]),
        opened(&[], &[1, 2], "1.0.0")
    );
    let migrated = opened(&["migrate_db(1.0.0, 1.10.0)"], &[1, 2, 3], "1.10.0");
    assert_eq!(python.open(path, "1.10.0", &["3"]), migrated);

    let store = Store::open(path, "1.10.0").await.unwrap();
    assert_eq!(store.calls(), [""; 0]);
    store.add(4, "from Rust").await.unwrap();
    assert_eq!(store.ids().await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(
        store
            .number("SELECT count(*) FROM note WHERE since_1_10 IS NULL")
            .await
            .unwrap(),
        4
    );
    store.close().await.unwrap();

    let store = Store::open(path, "2.0.0").await.unwrap();
    assert_eq!(store.calls(), ["migrate_db(1.10.0, 2.0.0)"]);
    // Both at once: Python sees what is written here, and the other way round.
    assert_eq!(
        python.open(path, "2.0.0", &["5"]),
        opened(&[], &[1, 2, 3, 4, 5], "2.0.0")
    );
    assert_eq!(store.ids().await.unwrap(), [1, 2, 3, 4, 5]);
    store.close().await.unwrap();

    // The tables of jobs were in nobody's way, and came through all of it.
    let jobs = WithJobs::open(path, "2.0.0").await;
    assert_eq!(run_due_jobs(&jobs).await.unwrap(), 1);
    jobs.close().await.unwrap();

    let refused = python.open(path, "1.10.0", &[]);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("bigger than required"),
        "{refused}"
    );
    assert_eq!(names(path), ["database.db", "database.db.1.10.0.backup"]);
}

async fn comes_from_there(python: &Reference) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    assert_eq!(
        python.open(path, "0.9.0", &["1"]),
        opened(&["init_db"], &[1], "0.9.0")
    );
    let store = Store::open(path, "0.10.0").await.unwrap();
    assert_eq!(store.calls(), ["migrate_db(0.9.0, 0.10.0)"]);
    assert_eq!(store.ids().await.unwrap(), [1]);
    store.close().await.unwrap();
    assert_eq!(
        python.open(path, "0.10.0", &[]),
        opened(&[], &[1], "0.10.0")
    );
}

fn test(name: &str, version: &'static str) {
    match Reference::install(version) {
        Err(why) => skip(name, &why),
        Ok(python) => run(async move {
            goes_there_and_comes_back(&python).await;
            comes_from_there(&python).await;
        }),
    }
}

#[test]
fn a_file_goes_to_python_0_2_1_and_comes_back() {
    test("a_file_goes_to_python_0_2_1_and_comes_back", "0.2.1");
}

#[test]
fn a_file_goes_to_python_1_1_0_and_comes_back() {
    test("a_file_goes_to_python_1_1_0_and_comes_back", "1.1.0");
}
