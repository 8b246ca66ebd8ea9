use std::fs;
use std::sync::mpsc::{Receiver, Sender};

use super::*;
use crate::config::Config;
use crate::engine::open::Opener;
use crate::engine::wal::wal_pages;
use crate::temporary::TemporaryDirectory;

const LIMIT: Duration = Duration::from_secs(20);

/// In the middle of another connection's checkpoint.
static MIDST: Mutex<Option<(Sender<()>, Receiver<()>)>> = Mutex::new(None);

fn stay_in_the_midst(_: i32) -> bool {
    if let Some((inside, go_on)) = MIDST.lock().unwrap().take() {
        inside.send(()).unwrap();
        go_on.recv_timeout(LIMIT).unwrap();
    }
    false
}

#[test]
fn a_checkpoint_that_another_one_is_in_the_way_of_has_not_copied_the_log() {
    let directory = TemporaryDirectory::new().unwrap();
    let path = directory.path().join("database.db");
    let opener = Opener::new(path.clone(), Config::new(directory.path()));
    let writer = Connection::open(&path).unwrap();
    let sql = "PRAGMA journal_mode = WAL; CREATE TABLE t (n); BEGIN; SELECT * FROM t";
    writer.execute_batch(sql).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    other.busy_handler(Some(stay_in_the_midst)).unwrap();
    let ((inside, is_inside), (go_on, may_go_on)) = (channel(), channel());
    *MIDST.lock().unwrap() = Some((inside, may_go_on));
    let checkpoint = std::thread::spawn(move || copy_log(&other, "RESTART", Duration::ZERO));
    is_inside.recv_timeout(LIMIT).unwrap();
    assert_eq!(Own::default().passive(&opener).unwrap(), 0);
    go_on.send(()).unwrap();
    assert!(!checkpoint.join().unwrap().unwrap(), "a read needs the log");
}

const FILL: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100)
    INSERT INTO t SELECT zeroblob(4000) FROM n";

struct Fixture {
    directory: TemporaryDirectory,
    db: Db,
    checkpointer: Checkpointer,
}

/// A database with a log of a hundred pages.
fn fixture() -> Fixture {
    let directory = TemporaryDirectory::new().unwrap();
    let config = Config::new(directory.path());
    let opener = Opener::new(directory.path().join("file"), config);
    let db = opener.create().unwrap();
    db.connection.execute_batch("CREATE TABLE t (x)").unwrap();
    db.connection.execute_batch(FILL).unwrap();
    assert!(wal_pages() > 100);
    let mark = Arc::new(ReadMark::new(Arc::clone(&opener)));
    let checkpointer = Checkpointer::new(opener, mark);
    Fixture {
        directory,
        db,
        checkpointer,
    }
}

impl Fixture {
    fn length_of_log(&self) -> u64 {
        let log = self.directory.path().join("file-wal");
        fs::metadata(log).unwrap().len()
    }
}

#[test]
fn a_log_that_is_copied_starts_over_in_its_place() {
    let fixture = fixture();
    let length = fixture.length_of_log();
    let began = Instant::now();
    assert!(!fixture.checkpointer.after_commit(PASSIVE_EVERY_PAGES + 1));
    while !fixture.checkpointer.after_commit(RESTART_WITHIN_PAGES) {
        assert!(began.elapsed() < LIMIT, "never copied");
        std::thread::yield_now();
    }
    assert!(fixture.checkpointer.restart_log(&fixture.db).is_none());
    let insert = "INSERT INTO t VALUES (1)";
    fixture.db.connection.execute_batch(insert).unwrap();
    assert!(wal_pages() < 10);
    assert_eq!(fixture.length_of_log(), length);
}

#[test]
fn an_sqlite_with_the_wal_reset_bug_makes_no_checkpoint_beside_the_writer() {
    let Fixture {
        db, checkpointer, ..
    } = &fixture();
    let (opener, mark) = (
        Arc::clone(&checkpointer.opener),
        Arc::clone(&checkpointer.mark),
    );
    let old = Checkpointer::for_sqlite(3_051_002, opener, mark);
    assert!(!old.after_commit(PASSIVE_EVERY_PAGES));
    assert!(
        old.after_commit(PASSIVE_EVERY_PAGES + 1),
        "the writer is held"
    );
    assert!(
        !old.state.wanted.load(Ordering::Relaxed),
        "nothing runs beside"
    );
    assert!(old.state.lock().connection.is_none());
    assert!(old.restart_log(db).is_none());
    assert!(
        !old.after_commit(PASSIVE_EVERY_PAGES + 2),
        "only when it has grown again"
    );
}

#[test]
fn nobody_is_held_for_the_log_of_a_copy_until_little_of_it_is_left() {
    let fixture = fixture();
    let checkpointer = &fixture.checkpointer;
    let large = 2 * TRUNCATE_ABOVE_PAGES;
    checkpointer.copy_begins();
    assert!(!checkpointer.after_commit(large), "it would be in vain");
    checkpointer.copy_ends();
    // The fixture's log is short, so next to nothing of such a log has been copied.
    assert!(!checkpointer.after_commit(large), "much is left");
    let began = Instant::now();
    while !checkpointer.after_commit(RESTART_WITHIN_PAGES) {
        assert!(began.elapsed() < LIMIT, "never copied");
        std::thread::yield_now();
    }
    assert!(checkpointer.restart_log(&fixture.db).is_none());
    assert!(!checkpointer.is_draining());
    assert!(
        checkpointer.after_commit(TRUNCATE_ABOVE_PAGES + 1),
        "as before"
    );
}

#[test]
fn the_writer_is_not_held_while_the_disk_syncs_a_long_log() {
    let fixture = fixture();
    let checkpointer = &fixture.checkpointer;
    let copied = SETTLE_ABOVE_PAGES + 1;
    checkpointer.state.copied.store(copied, Ordering::Relaxed);
    assert!(checkpointer.after_commit(copied));
    // It takes longer than the writer is held for it.
    let syncs = checkpointer.state.lock();
    assert!(checkpointer.restart_log(&fixture.db).is_none());
    assert_ne!(checkpointer.pages(), 0, "it has not started over");
    assert!(
        !checkpointer.after_commit(copied),
        "nobody is held meanwhile"
    );
    drop(syncs);
    let began = Instant::now();
    // Afterwards it starts over. (The fixture's log is shorter than it says.)
    while checkpointer.pages() != 0 {
        assert!(began.elapsed() < LIMIT, "the end of it is not seen");
        if checkpointer.after_commit(RESTART_WITHIN_PAGES) {
            let _ = checkpointer.restart_log(&fixture.db);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_disk_that_is_never_quick_enough_is_waited_for_in_the_end() {
    let fixture = fixture();
    let checkpointer = &fixture.checkpointer;
    let all = &checkpointer.copied_in_all;
    all.store(SETTLE_ABOVE_PAGES + 1, Ordering::Relaxed);
    checkpointer.pages.store(100, Ordering::Relaxed);
    let syncs = checkpointer.state.lock();
    for _ in 0..SETTLE_ATTEMPTS {
        assert!(checkpointer.restart_log(&fixture.db).is_none());
        assert_ne!(checkpointer.pages(), 0);
    }
    drop(syncs);
    assert!(checkpointer.restart_log(&fixture.db).is_none());
    assert_eq!(checkpointer.pages(), 0, "the writer was held");
}

#[test]
fn a_very_long_log_gives_the_space_back_in_steps() {
    let fixture = fixture();
    let connection = &fixture.db.connection;
    let fill = FILL.replace("LIMIT 100", "LIMIT 20000");
    connection.execute_batch(&fill).unwrap();
    let length = fixture.length_of_log();
    assert!(length > EMPTY_AT_ONCE);
    assert!(fixture.checkpointer.after_commit(wal_pages()));
    assert!(fixture.checkpointer.restart_log(&fixture.db).is_none());
    assert_eq!(
        fixture.length_of_log(),
        length,
        "not while the writer is held"
    );
    let insert = "INSERT INTO t VALUES (1)";
    connection.execute_batch(insert).unwrap();
    assert!(wal_pages() < 10, "it has started over");
    assert_eq!(fixture.length_of_log(), length - SHRINK_BY);

    // It grows once more, and SQLite has it start over by itself.
    fixture.checkpointer.lift_limit(&fixture.db);
    connection
        .execute_batch(&fill.replace("20000", "25000"))
        .unwrap();
    let length = fixture.length_of_log();
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(2));
    assert!(copied.unwrap_or(0) > 20_000);
    connection.execute_batch(insert).unwrap();
    assert!(wal_pages() < 10, "it has started over");
    assert_eq!(fixture.length_of_log(), length, "in its place");
}

#[test]
fn a_read_that_is_in_the_way_of_draining_ends_it() {
    let fixture = fixture();
    let checkpointer = &fixture.checkpointer;
    let large = 2 * TRUNCATE_ABOVE_PAGES;
    checkpointer.copy_begins();
    assert!(!checkpointer.after_commit(large));
    checkpointer.copy_ends();
    // Every checkpoint copies the same pages: those of the log of the fixture.
    let began = Instant::now();
    while !checkpointer.after_commit(large) {
        assert!(began.elapsed() < LIMIT, "it never gives up");
        std::thread::yield_now();
    }
    let _ = checkpointer.restart_log(&fixture.db);
    assert!(!checkpointer.is_draining());
}

#[test]
fn a_log_that_is_too_large_gives_the_space_back() {
    let fixture = fixture();
    assert!(fixture.checkpointer.after_commit(TRUNCATE_ABOVE_PAGES + 1));
    assert!(fixture.checkpointer.restart_log(&fixture.db).is_none());
    assert_eq!(fixture.length_of_log(), 0);
}

#[test]
fn the_writer_is_not_held_for_what_was_written_since_the_checkpoint() {
    let directory = TemporaryDirectory::new().unwrap();
    let path = directory.path().join("database.db");
    let opener = Opener::new(path.clone(), Config::new(directory.path()));
    let writer = Connection::open(&path).unwrap();
    let sql = "PRAGMA journal_mode = WAL; CREATE TABLE t (n)";
    writer.execute_batch(sql).unwrap();
    let mark = Arc::new(ReadMark::new(Arc::clone(&opener)));
    let checkpointer = Checkpointer::new(opener, mark);
    let after_checkpoint = || {
        let (sender, receiver) = channel();
        let posted = checkpointer.worker.post(move || sender.send(()).unwrap());
        posted.unwrap();
        receiver.recv_timeout(LIMIT).unwrap();
    };
    assert!(
        !checkpointer.after_commit(PASSIVE_EVERY_PAGES + 1),
        "it runs"
    );
    after_checkpoint();
    assert!(
        !checkpointer.after_commit(PASSIVE_EVERY_PAGES + 4_000),
        "much is left"
    );
    after_checkpoint();
    assert!(!checkpointer.after_commit(0), "nothing was written");
    assert!(
        checkpointer.after_commit(RESTART_WITHIN_PAGES),
        "little is left"
    );
}
