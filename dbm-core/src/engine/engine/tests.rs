use std::fs;

use super::*;
use crate::test_support::hold_up;

/// A database that was closed, and an engine that has read it since.
struct Fixture {
    directory: TemporaryDirectory,
    engine: Arc<Engine>,
    reader: Arc<Conn>,
}

fn fixture(execution: Execution) -> Fixture {
    let directory = TemporaryDirectory::new().unwrap();
    let path = directory.path().join("file");
    let config = Config::new(directory.path()).execution(execution);
    let open = || {
        let opener = Opener::new(path.clone(), config.clone());
        Engine::new(opener, None)
    };
    let first = open();
    first.writer.conn.take_over(first.opener.create().unwrap());
    execute(&first.writer.conn, "CREATE TABLE t (n)");
    first.close();
    let engine = open();
    let reader = engine.readers.first();
    reader.open().unwrap();
    execute(&reader, "SELECT * FROM t");
    let fixture = Fixture {
        directory,
        engine,
        reader,
    };
    assert_eq!(fixture.files(), ["file", "file-shm", "file-wal"]);
    fixture
}

fn execute(conn: &Conn, sql: &str) {
    let mut slot = conn.lock();
    let connection = &slot.db().unwrap().connection;
    connection.execute_batch(sql).unwrap();
}

impl Fixture {
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn another(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("file")).unwrap()
    }
}

#[test]
fn what_was_only_read_is_closed_at_once_and_leaves_no_side_files() {
    let fixture = fixture(Execution::Auto);
    assert!(fixture.engine.close_at_once());
    assert_eq!(fixture.files(), ["file"]);
    assert!(fixture.reader.open().is_err());
    assert!(!fixture.reader.has_worker());
}

#[test]
fn somebody_else_who_uses_the_file_is_waited_for_on_a_thread() {
    let fixture = fixture(Execution::Auto);
    let another = fixture.another();
    another.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    assert!(!fixture.engine.close_at_once());
    fixture.engine.close_tidily();
    assert_eq!(fixture.files(), ["file", "file-shm", "file-wal"]);
    another
        .execute_batch("COMMIT; INSERT INTO t VALUES (1)")
        .unwrap();
}

#[test]
fn of_two_who_close_at_once_one_does_nothing() {
    let fixture = fixture(Execution::Auto);
    let closing = fixture.engine.closed.lock().unwrap();
    assert!(!fixture.engine.close_at_once());
    drop(closing);
    assert!(fixture.engine.close_at_once());
    // The log of a later user of the file.
    let log = fixture.directory.path().join("file-wal");
    fs::write(&log, "").unwrap();
    assert!(fixture.engine.close_at_once());
    fixture.engine.close_tidily();
    assert!(log.exists());
}

// On Windows this cannot be done to an open file.
#[cfg(unix)]
#[test]
fn a_file_that_has_taken_the_place_of_the_one_that_was_read_is_not_touched() {
    let fixture = fixture(Execution::Auto);
    let path = fixture.directory.path().join("file");
    let other = path.with_file_name("other");
    fs::copy(&path, &other).unwrap();
    fs::rename(&other, &path).unwrap();
    fixture.engine.close_at_once();
    // Of which file they are is not for this manager to say any more.
    assert_eq!(fixture.files(), ["file", "file-shm", "file-wal"]);
}

#[test]
fn a_log_is_copied_on_a_thread() {
    let fixture = fixture(Execution::Auto);
    let another = fixture.another();
    another.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert!(!fixture.engine.close_at_once());
}

#[test]
fn a_writer_is_closed_on_a_thread() {
    let fixture = fixture(Execution::Auto);
    fixture.engine.writer.conn.open().unwrap();
    assert!(!fixture.engine.close_at_once());
}

#[test]
fn what_still_runs_is_waited_for_on_a_thread() {
    let fixture = fixture(Execution::Auto);
    for conn in [&fixture.reader, &fixture.engine.writer.conn] {
        let go_on = hold_up(conn);
        assert!(!fixture.engine.close_at_once());
        go_on.send(()).unwrap();
        while conn.has_pending() {
            std::thread::yield_now();
        }
    }
    assert!(fixture.engine.close_at_once());
}

#[test]
fn nothing_is_closed_where_the_task_is_when_everything_is_to_run_on_threads() {
    let fixture = fixture(Execution::Offload);
    assert!(!fixture.engine.close_at_once());
}
