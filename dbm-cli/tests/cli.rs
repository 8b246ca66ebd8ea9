//! `dbm`, run on real files.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Raw;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "1.2.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY, text TEXT) STRICT;
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent) STRICT;
             WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000)
             INSERT INTO parent SELECT x, printf('%080d', x) FROM n;",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn rename(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("UPDATE parent SET text = 'new' WHERE id = 1", ())
            .await?;
        Ok(())
    }
}

/// A database that no program has open.
struct File {
    _directory: TempDir,
    path: PathBuf,
}

fn file() -> File {
    let (directory, store) = open();
    wait(store.close());
    File {
        path: directory.path().join("database.db"),
        _directory: directory,
    }
}

/// A database that this process has open.
fn open() -> (TempDir, Arc<Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = wait(Store::create(Config::new(directory.path())));
    (directory, store)
}

fn wait<T>(future: impl Future<Output = Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future).unwrap()
}

fn change(path: &Path, sql: &str) {
    Raw::open(path).unwrap().execute_batch(sql).unwrap();
}

/// The exit code, and what it has printed: the result, and its complaint.
fn dbm(arguments: &[&str], file: &Path) -> (i32, String, String) {
    let arguments = arguments.iter().map(OsStr::new);
    dbm_of(&arguments.chain([file.as_os_str()]).collect::<Vec<_>>())
}

fn dbm_of(arguments: &[impl AsRef<OsStr>]) -> (i32, String, String) {
    let mut dbm = Command::new(assert_cmd::cargo::cargo_bin!("dbm"));
    let dbm = dbm.args(arguments);
    let output = dbm.timeout(Duration::from_secs(300)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn found(arguments: &[&str], file: &Path) -> (i32, String) {
    let (code, text, complaint) = dbm(arguments, file);
    assert_eq!(complaint, "");
    (code, text)
}

fn json(arguments: &[&str], file: &Path) -> (i32, Value) {
    let (code, text) = found(&[&["--json"], arguments].concat(), file);
    (code, serde_json::from_str(&text).unwrap())
}

/// An error, which is the same in both forms.
fn error(arguments: &[&str], file: &Path) -> String {
    let (code, text, complaint) = dbm(arguments, file);
    assert_eq!((code, text.as_str()), (2, ""));
    let complaint = complaint.strip_prefix("dbm: ").unwrap().trim_end();
    assert_eq!(json(arguments, file), (2, json!({ "error": complaint })));
    complaint.to_owned()
}

const COMMANDS: [&str; 3] = ["status", "check", "jobs"];

#[test]
fn a_healthy_file_is_shown_and_not_changed() {
    let file = file();
    let before = fs::read(&file.path).unwrap();
    let bytes = before.len();
    let (code, text) = found(&["status"], &file.path);
    let expected = format!(
        "file     {}\nversion  1.2.0\nsize     {bytes} bytes\nlog      0 bytes\npages    {} of 4096 bytes, 0 free\ntables   2\n",
        file.path.display(),
        bytes / 4096,
    );
    assert_eq!((code, text), (0, expected));
    let expected = json!({
        "file": file.path, "version": "1.2.0", "bytes": bytes, "log_bytes": 0,
        "page_bytes": 4096, "pages": bytes / 4096, "free_pages": 0, "tables": 2,
    });
    assert_eq!(json(&["status"], &file.path), (0, expected));
    assert_eq!(found(&["check"], &file.path), (0, "sound\n".to_owned()));
    let expected = json!({
        "file": file.path, "version": "1.2.0", "sound": true, "integrity": [], "foreign_keys": [],
    });
    assert_eq!(json(&["check"], &file.path), (0, expected));
    assert_eq!(found(&["jobs"], &file.path), (0, "no jobs\n".to_owned()));
    assert_eq!(fs::read(&file.path).unwrap(), before);
}

#[test]
fn a_file_of_any_version_is_opened_and_never_migrated() {
    let file = file();
    for version in ["0.0.0", "0.9.0", "99.0.1"] {
        let [major, minor, patch] = version.split('.').collect::<Vec<_>>()[..] else {
            unreachable!()
        };
        change(
            &file.path,
            &format!("UPDATE Version SET major = {major}, minor = {minor}, patch = {patch}"),
        );
        for _ in 0..2 {
            let (code, status) = json(&["status"], &file.path);
            assert_eq!((code, &status["version"]), (0, &json!(version)));
        }
    }
}

#[test]
fn damage_is_a_finding() {
    let file = file();
    let mut raw = OpenOptions::new().write(true).open(&file.path).unwrap();
    let last_page = raw.metadata().unwrap().len() - 4096;
    raw.seek(SeekFrom::Start(last_page)).unwrap();
    raw.write_all(&[0xff; 4096]).unwrap();
    drop(raw);
    let (code, text) = found(&["check"], &file.path);
    assert_eq!(code, 1);
    assert!(!text.contains("sound") && !text.trim().is_empty(), "{text}");
    let (code, check) = json(&["check"], &file.path);
    assert_eq!((code, &check["sound"]), (1, &json!(false)));
    let lines = check["integrity"].as_array().unwrap();
    let lines: Vec<_> = lines.iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.join("\n"), text.trim_end());
}

#[test]
fn a_row_without_its_parent_is_a_finding() {
    let file = file();
    change(
        &file.path,
        "PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (1, 5000), (2, 1)",
    );
    let text = "1 rows of child (parent) have no parent in parent\n";
    assert_eq!(found(&["check"], &file.path), (1, text.to_owned()));
    let (_, check) = json(&["check"], &file.path);
    let expected = json!([{
        "child": "child", "columns": ["parent"], "parent": "parent", "rows": 1, "unusable": null,
    }]);
    assert_eq!(check["foreign_keys"], expected);
}

#[test]
fn a_file_that_another_process_has_open_can_be_looked_at() {
    let (directory, store) = open();
    wait(store.rename());
    let path = directory.path().join("database.db");
    let (code, status) = json(&["status"], &path);
    assert_eq!((code, &status["version"]), (0, &json!("1.2.0")));
    assert!(status["log_bytes"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(found(&["check"], &path), (0, "sound\n".to_owned()));
    assert_eq!(found(&["jobs"], &path), (0, "no jobs\n".to_owned()));
    wait(store.rename());
    wait(store.close());
}

#[test]
fn what_is_no_database_of_dbm_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("text"), "no database ".repeat(1_000)).unwrap();
    fs::write(path("short"), "x").unwrap();
    change(&path("foreign"), "CREATE TABLE t (n)");
    for command in COMMANDS {
        for (name, says) in [
            ("missing", "there is no database"),
            ("missing/too", "there is no database"),
            ("empty", "there is no database"),
            ("text", "file is not a database"),
            ("short", "file is not a database"),
            ("foreign", "not a database of dbm"),
            ("foreign-wal", "ends like one of SQLite's side files"),
        ] {
            let error = error(&[command], &path(name));
            assert!(error.contains(says), "{command} {name}: {error}");
            assert!(!error.contains("Config::"), "{command} {name}: {error}");
        }
        let error = error(&[command], directory.path());
        assert!(error.contains("is a directory"), "{error}");
    }
    assert!(!path("missing").exists());
    assert_eq!(fs::read(path("empty")).unwrap(), b"");
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt as _;

    let (code, _, complaint) = dbm(&["status"], Path::new(OsStr::from_bytes(b"/tmp/\xff.db")));
    assert_eq!(code, 2);
    assert!(complaint.contains("not UTF-8"), "{complaint}");
}

#[test]
fn a_backup_of_a_running_database_is_restored_once_it_is_closed() {
    let (directory, store) = open();
    let path = |name: &str| directory.path().join(name);
    let (database, copy) = (path("database.db"), path("copy.db"));
    let copy_to = copy.to_str().unwrap();
    let copies = |file: &Path, to: &str| dbm_of(&["backup", file.to_str().unwrap(), to]);
    let restores = |at_most: &str| {
        let arguments = ["restore", "--at-most", at_most];
        let paths = [database.to_str().unwrap(), copy_to];
        dbm_of(&[&arguments[..], &paths].concat())
    };

    let (code, text, _) = copies(&database, copy_to);
    let expected = format!("copied version 1.2.0 to {copy_to}\n");
    assert_eq!((code, text), (0, expected));
    let (code, _, complaint) = copies(&database, copy_to);
    assert_eq!(code, 2, "it exists");
    assert!(complaint.contains("exists already"), "{complaint}");
    assert_eq!(found(&["check"], &copy), (0, "sound\n".to_owned()));

    wait(store.rename());
    let (code, _, complaint) = restores("1.2.0");
    assert_eq!(code, 2, "it is open");
    assert!(complaint.contains("is open"), "{complaint}");
    wait(store.close());
    let (code, _, complaint) = restores("1.1.9");
    assert_eq!(code, 2, "it is newer");
    let says = "has version 1.2.0, and --at-most is 1.1.9";
    assert!(complaint.contains(says), "{complaint}");
    assert_eq!(text_of_first(&database), "new");

    let (code, text, complaint) = restores("1.2.0");
    assert_eq!(code, 0, "{complaint}");
    let replaced = path("database.db.replaced");
    let expected = format!(
        "{} has version 1.2.0 now\nthe file that was there is {}\n",
        database.display(),
        replaced.display()
    );
    assert_eq!(text, expected);
    assert_ne!(text_of_first(&database), "new");
    assert_eq!(text_of_first(&replaced), "new");
}

#[test]
fn a_restore_wants_the_newest_version_that_the_program_knows() {
    let file = file();
    let path = file.path.to_str().unwrap();
    let (code, _, complaint) = dbm_of(&["restore", path, "copy"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("--at-most"), "{complaint}");
    let (code, _, complaint) = dbm_of(&["restore", path, "copy", "--at-most", "one"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("--at-most"), "{complaint}");
}

#[test]
fn what_a_backup_or_a_restore_prints_as_json_has_the_paths() {
    let file = file();
    let path = file.path.to_str().unwrap();
    let copy = file.path.with_file_name("copy.db");
    let copy = copy.to_str().unwrap();
    let printed = |arguments: &[&str]| {
        let (code, text, _) = dbm_of(&[&["--json"], arguments].concat());
        (code, serde_json::from_str::<Value>(&text).unwrap())
    };
    let expected = json!({ "file": path, "version": "1.2.0", "backup": copy });
    assert_eq!(printed(&["backup", path, copy]), (0, expected));
    let expected =
        json!({ "file": path, "version": "1.2.0", "replaced": format!("{path}.replaced") });
    let restored = printed(&["restore", path, copy, "--at-most", "2.0.0"]);
    assert_eq!(restored, (0, expected));
    let (code, error) = printed(&["restore", path, "missing", "--at-most", "2.0.0"]);
    assert_eq!(code, 2);
    assert!(error["error"].is_string(), "{error}");
}

fn text_of_first(file: &Path) -> String {
    let sql = "SELECT text FROM parent WHERE id = 1";
    Raw::open(file)
        .unwrap()
        .query_row(sql, (), |row| row.get(0))
        .unwrap()
}

/// A manager that has jobs, and runs none of them here.
#[derive(DbManager)]
#[db_manager(version = "1.2.0", jobs(tidy))]
struct WithJobs {
    core: ManagerCore,
}

impl Schema for WithJobs {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl WithJobs {
    #[job]
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }
}

fn file_with_job_tables() -> File {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path()).job_workers(0);
    wait(async { WithJobs::create(config).await?.close().await });
    File {
        path: directory.path().join("database.db"),
        _directory: directory,
    }
}

#[test]
fn jobs_are_listed_and_a_dead_one_is_a_finding() {
    let file = file_with_job_tables();
    assert_eq!(found(&["jobs"], &file.path), (0, "no jobs\n".to_owned()));
    change(
        &file.path,
        "INSERT INTO _dbm_job (id, kind, args, due, attempts, owner, enqueued) VALUES
             (1, 'tidy', '[]', 86400000, 0, NULL, 0),
             (2, 'send', '[\"secret\"]', 1000, 1, 7, 0),
             (3, 'send', '[]', 2000, 1, 0, 0)",
    );
    let (code, text) = found(&["jobs"], &file.path);
    let expected = "2 waiting, 1 running, 0 dead\n\
                    running  2  send, due 1970-01-01T00:00:01Z, attempts: 1\n\
                    waiting  3  send, due 1970-01-01T00:00:02Z, attempts: 1\n\
                    waiting  1  tidy, due 1970-01-02T00:00:00Z, attempts: 0\n";
    assert_eq!((code, text.as_str()), (0, expected));

    change(
        &file.path,
        "INSERT INTO _dbm_job (id, kind, args, attempts, enqueued, died, cause) VALUES
             (4, 'send', '[]', 5, 0, 3000, 'no such\nhost')",
    );
    let (code, text) = found(&["jobs", "--limit", "1"], &file.path);
    let expected = "2 waiting, 1 running, 1 dead\n\
                    dead     4  send, died 1970-01-01T00:00:03Z, attempts: 5, no such host\n\
                    and 3 more, see --limit\n";
    assert_eq!((code, text.as_str()), (1, expected));
    let (code, jobs) = json(&["jobs", "--limit", "1"], &file.path);
    let expected = json!({
        "file": file.path, "waiting": 2, "running": 1, "dead": 1,
        "jobs": [{
            "id": 4, "kind": "send", "state": "dead", "attempts": 5, "enqueued": "1970-01-01T00:00:00Z",
            "due": null, "died": "1970-01-01T00:00:03Z", "cause": "no such\nhost",
        }],
    });
    assert_eq!((code, jobs), (1, expected));
}

#[test]
fn job_tables_of_a_later_release_are_an_error() {
    let file = file_with_job_tables();
    change(&file.path, "UPDATE _dbm_format SET number = 2");
    let error = error(&["jobs"], &file.path);
    assert!(error.contains("a later release"), "{error}");
    assert_eq!(found(&["check"], &file.path).0, 0);
}

#[test]
fn a_wrong_command_line_is_an_error_with_the_usage() {
    let (code, text, complaint) = dbm(&["statsu"], Path::new("file"));
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(complaint.contains("'status'"), "{complaint}");
    let (code, help, _) = dbm(&["--help"], Path::new("file"));
    assert_eq!(code, 0);
    assert!(help.contains("Exit codes:"), "{help}");
}
