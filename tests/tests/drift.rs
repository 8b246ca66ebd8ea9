//! A database of the right version whose schema is not what `init_db` makes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use dbm_core::SchemaDrift;
use dbm_core::prelude::*;
use dbm_tests::{bytes, open_files, run, run_on_one_thread, waits, within};
use tempfile::TempDir;
use tokio::sync::Notify;
use tracing_subscriber::filter::LevelFilter;

/// A release: its tables, and how it brings an older database to them.
macro_rules! release {
    ($name:ident, $version:literal, $init:expr, $migrate:expr) => {
        #[derive(DbManager)]
        #[db_manager(version = $version)]
        struct $name {
            core: ManagerCore,
        }

        dbm_tests::schema!($name, $init, $migrate);
    };
}

release!(
    First,
    "1.0.0",
    "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT",
    ""
);
release!(
    Edited,
    "1.0.0",
    "CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT, name TEXT NOT NULL) STRICT",
    ""
);
release!(
    Second,
    "1.1.0",
    "CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT, name TEXT NOT NULL) STRICT;
     CREATE INDEX user_by_email ON user (email)",
    "ALTER TABLE user ADD COLUMN email TEXT;
     CREATE INDEX user_by_email ON user(email)"
);
release!(
    Forgetful,
    "1.1.0",
    "CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT, name TEXT NOT NULL) STRICT;
     CREATE INDEX user_by_email ON user (email)",
    "ALTER TABLE user ADD COLUMN email TEXT"
);

const DIFFERENCES: &str = "  TABLE user\n+   email TEXT";

fn config(directory: &TempDir) -> Config {
    Config::new(directory.path())
}

fn strict(directory: &TempDir) -> Config {
    config(directory).schema_drift(SchemaDrift::Error)
}

/// A database of the first release.
async fn first() -> TempDir {
    let directory = TempDir::new().unwrap();
    let store = First::create(config(&directory)).await.unwrap();
    store.close().await.unwrap();
    directory
}

async fn change(directory: &TempDir, sql: &'static str) {
    #[derive(DbManager)]
    #[db_manager(version = "1.0.0")]
    struct Hand {
        core: ManagerCore,
    }
    dbm_tests::schema!(Hand);
    impl Hand {
        #[database_safe]
        async fn change(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
            db.execute_batch(sql).await
        }
    }
    let hand = Hand::create(config(directory)).await.unwrap();
    hand.change(sql).await.unwrap();
    hand.close().await.unwrap();
}

fn differences(error: Error) -> String {
    match error {
        Error::SchemaDrift { differences, .. } => differences,
        other => panic!("{other:?}"),
    }
}

/// Who wants to hear warnings about the schema of which database.
static LISTENERS: Mutex<Vec<(&str, Sender<String>)>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        for (database, sender) in LISTENERS.lock().unwrap().iter() {
            if text.contains("schema") && text.contains(database) {
                let _ = sender.send(text.to_string());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn warnings(database: &'static str) -> Receiver<String> {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
    let (sender, receiver) = channel();
    LISTENERS.lock().unwrap().push((database, sender));
    receiver
}

async fn next(warnings: Receiver<String>) -> String {
    tokio::task::spawn_blocking(move || warnings.recv_timeout(Duration::from_secs(60)).unwrap())
        .await
        .unwrap()
}

#[test]
fn an_edit_without_a_new_version_is_an_error_where_that_is_wanted() {
    run(async {
        let directory = first().await;
        let before = bytes(directory.path());
        let store = Edited::start(strict(&directory));
        let error = store.ensure_ready().await.unwrap_err();
        assert_eq!(store.status(), Status::Failed);
        assert_eq!(differences(error.clone()), DIFFERENCES);
        let text = error.to_string();
        assert!(
            text.contains("1.0.0") && text.contains("raise the version"),
            "{text}"
        );
        assert!(text.ends_with(DIFFERENCES), "{text}");
        assert_eq!(bytes(directory.path()), before, "the file is untouched");
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn it_is_a_warning_by_default_and_the_manager_runs() {
    run(async {
        let warnings = warnings("warned.db");
        let directory = TempDir::new().unwrap();
        let config = config(&directory).db_name("warned.db");
        First::create(config.clone())
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let store = Edited::create(config.clone()).await.unwrap();
        let warning = next(warnings).await;
        assert!(
            warning.contains("WARN") && warning.contains("email TEXT"),
            "{warning}"
        );
        store.close().await.unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn nothing_is_checked_where_that_is_wished() {
    run(async {
        let directory = first().await;
        let config = config(&directory).schema_drift(SchemaDrift::Ignore);
        let store = Edited::create(config).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn the_program_that_made_it_and_one_that_migrated_it_find_no_drift() {
    run_on_one_thread(async {
        let directory = first().await;
        for _ in 0..2 {
            let store = First::create(strict(&directory)).await.unwrap();
            store.close().await.unwrap();
        }
        for _ in 0..2 {
            let store = Second::create(strict(&directory)).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_migration_that_forgets_something_is_undone() {
    run(async {
        let directory = first().await;
        let error = Forgetful::create(strict(&directory)).await.err().unwrap();
        assert_eq!(
            differences(error),
            "+ INDEX user_by_email\n+   ON user (email)"
        );
        let store = First::create(config(&directory)).await.unwrap();
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        store.close().await.unwrap();
    });
}

#[test]
fn what_others_have_put_beside_is_no_drift() {
    run(async {
        let directory = first().await;
        change(
            &directory,
            "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE INDEX seqs ON _litestream_seq (seq);
             CREATE VIEW names AS SELECT name FROM user;
             ANALYZE",
        )
        .await;
        let store = First::create(strict(&directory)).await.unwrap();
        store.close().await.unwrap();
        change(&directory, "CREATE UNIQUE INDEX one_name ON user (name)").await;
        let error = First::create(strict(&directory)).await.err().unwrap();
        assert!(differences(error).contains("- INDEX one_name\n-   UNIQUE ON user (name)"));
    });
}

#[test]
fn a_view_in_the_place_of_a_table_is_drift_for_the_table_that_is_missing() {
    run(async {
        let directory = first().await;
        change(
            &directory,
            "DROP TABLE user; CREATE VIEW user AS SELECT 1 AS id, 'Ada' AS name",
        )
        .await;
        let error = First::create(strict(&directory)).await.err().unwrap();
        assert_eq!(
            differences(error),
            "+ TABLE user\n+   id INTEGER\n+   name TEXT NOT NULL\n+   PRIMARY KEY (id)\n+   STRICT"
        );
    });
}

#[test]
fn a_version_of_the_tests_own_is_not_compared() {
    run(async {
        let directory = first().await;
        let config = strict(&directory);
        let store = Second::create(config.version(Version::new(1, 0, 0)))
            .await
            .unwrap();
        store.close().await.unwrap();
    });
}

/// A manager that fills a table through a method of its own, and remembers what it has done.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Careful {
    core: ManagerCore,
    added: AtomicUsize,
    trouble: Trouble,
    hangs: Notify,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Trouble {
    #[default]
    None,
    Fails,
    Panics,
    Hangs,
}

impl Schema for Careful {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(
            "CREATE TABLE tag (name TEXT NOT NULL PRIMARY KEY) STRICT",
            (),
        )
        .await?;
        self.add("urgent").await?;
        assert_eq!(self.get_version().await?, Version::new(1, 0, 0));
        assert!(matches!(
            self.count().await,
            Err(Error::NotDuringInit { .. })
        ));
        match self.trouble {
            Trouble::None => Ok(()),
            Trouble::Fails => Err(Error::other("no tags today")),
            Trouble::Panics => panic!("no tags today"),
            Trouble::Hangs => {
                self.hangs.notify_one();
                std::future::pending().await
            }
        }
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

impl Careful {
    #[database_safe]
    #[during_init]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        db.execute("INSERT INTO tag VALUES (?1)", (name,)).await?;
        self.added.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM tag", ()).await
    }
}

fn troubled(config: Config, trouble: Trouble) -> Arc<Careful> {
    Careful::start_with(config, |core| Careful {
        core,
        added: AtomicUsize::new(0),
        trouble,
        hangs: Notify::new(),
    })
}

#[test]
fn init_db_is_asked_in_a_database_of_its_own() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = strict(&directory);
        for is_new in [true, false] {
            let store = Careful::create(config.clone()).await.unwrap();
            assert_eq!(store.count().await.unwrap(), 1);
            let added = store.added.load(Ordering::Relaxed);
            assert_eq!(added, usize::from(is_new), "another manager is asked");
            store.close().await.unwrap();
        }
        let store = troubled(config, Trouble::None);
        assert_eq!(
            store.count().await.unwrap(),
            1,
            "no row has come into the file"
        );
        assert_eq!(
            store.added.load(Ordering::Relaxed),
            1,
            "there is no other one to ask"
        );
        store.close().await.unwrap();
    });
}

#[test]
fn an_init_db_that_cannot_tell_keeps_nobody_from_running() {
    run(async {
        for (name, trouble) in [("fails.db", Trouble::Fails), ("panics.db", Trouble::Panics)] {
            let warnings = warnings(name);
            let directory = TempDir::new().unwrap();
            let config = config(&directory)
                .db_name(name)
                .schema_drift(SchemaDrift::Error);
            Careful::create(config.clone())
                .await
                .unwrap()
                .close()
                .await
                .unwrap();
            let store = troubled(config, trouble);
            store.ensure_ready().await.unwrap();
            let warning = next(warnings).await;
            assert!(
                warning.contains("could not be compared") && warning.contains("no tags today"),
                "{warning}"
            );
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_init_db_that_hangs_can_be_given_up() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = strict(&directory);
        Careful::create(config.clone())
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let store = troubled(config, Trouble::Hangs);
        within(store.hangs.notified()).await;
        within(store.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!(store.status(), Status::Failed);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_check_beside_the_calls_keeps_nothing_open() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory).schema_drift(SchemaDrift::Warn);
        Careful::create(config.clone())
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        for _ in 0..50 {
            let store = Careful::create(config.clone()).await.unwrap();
            store.close().await.unwrap();
            assert!(open_files(directory.path()).is_empty());
        }
        let store = troubled(config, Trouble::Hangs);
        within(store.hangs.notified()).await;
        assert_eq!(store.status(), Status::Running);
        store.close().await.unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

/// A release whose `init_db` counts its runs and then waits, if it is told to.
macro_rules! counted {
    ($name:ident, $waits:expr) => {
        #[derive(DbManager)]
        #[db_manager(version = "1.0.0")]
        struct $name {
            core: ManagerCore,
        }

        impl $name {
            fn runs() -> &'static AtomicUsize {
                static RUNS: AtomicUsize = AtomicUsize::new(0);
                &RUNS
            }
        }

        impl Schema for $name {
            async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
                let waits = Self::runs().fetch_add(1, Ordering::Relaxed) > 0 && $waits;
                db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY) STRICT")
                    .await?;
                if waits {
                    std::future::pending().await
                }
                Ok(())
            }
        }
    };
}

counted!(Counted, false);
counted!(Hurried, false);
counted!(Waiting, true);
counted!(Abandoned, true);

async fn open_and_close<M: DbManager + dbm_core::FromCore>(config: &Config) {
    let store = M::create(config.clone()).await.unwrap();
    store.close().await.unwrap();
}

#[test]
fn a_program_that_ends_at_once_is_told_when_it_closes() {
    release!(
        Short,
        "1.0.0",
        "CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT, name TEXT NOT NULL) STRICT",
        ""
    );
    run(async {
        let warnings = warnings("short.db");
        let directory = TempDir::new().unwrap();
        let config = config(&directory).db_name("short.db");
        open_and_close::<First>(&config).await;
        open_and_close::<Short>(&config).await;
        let warning = warnings.try_recv().unwrap();
        assert!(
            warning.contains("WARN") && warning.contains("email TEXT"),
            "{warning}"
        );
        let short = Short::create(config.clone()).await.unwrap();
        short.close_within(Duration::from_secs(60)).await.unwrap();
        assert!(warnings.try_recv().is_err(), "once is enough");
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_close_checks_a_file_that_was_there_and_one_for_each_type_of_manager() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory);
        let runs = || Counted::runs().load(Ordering::Relaxed);
        open_and_close::<Counted>(&config).await;
        assert_eq!(runs(), 1, "it was made, not checked");
        open_and_close::<Counted>(&config.clone().schema_drift(SchemaDrift::Ignore)).await;
        assert_eq!(runs(), 1, "that was wished");
        for _ in 0..3 {
            open_and_close::<Counted>(&config).await;
            assert_eq!(runs(), 2);
        }
    });
}

#[test]
fn a_close_without_time_checks_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory);
        open_and_close::<Hurried>(&config).await;
        let store = Hurried::create(config).await.unwrap();
        store.close_within(Duration::ZERO).await.unwrap();
        assert_eq!(store.status(), Status::Stopped);
        assert_eq!(Hurried::runs().load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_check_that_hangs_does_not_keep_a_manager_from_closing() {
    run(async {
        let directory = TempDir::new().unwrap();
        open_and_close::<Waiting>(&config(&directory)).await;
        open_and_close::<Waiting>(&config(&directory)).await;
        assert_eq!(Waiting::runs().load(Ordering::Relaxed), 2);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_close_that_is_dropped_during_its_check_goes_on() {
    run(async {
        let directory = TempDir::new().unwrap();
        open_and_close::<Abandoned>(&config(&directory)).await;
        let store = Abandoned::create(config(&directory)).await.unwrap();
        let mut close = Box::pin(store.close());
        assert!(waits(&mut close).await, "for the check");
        assert!(matches!(
            store.get_version().await,
            Err(Error::Closed { .. })
        ));
        drop(close);
        let mut status = store.watch_status();
        within(status.wait_for(|status| *status == Status::Stopped))
            .await
            .unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

/// A field that can be made twice: for the manager that makes the file, and for the one that opens it.
struct Reluctant;

impl Default for Reluctant {
    fn default() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        assert!(MADE.fetch_add(1, Ordering::Relaxed) < 2, "no more of these");
        Self
    }
}

#[test]
fn a_second_manager_that_cannot_be_made_harms_no_close() {
    #[derive(DbManager)]
    #[db_manager(version = "1.0.0")]
    struct Twice {
        core: ManagerCore,
        _field: Reluctant,
    }
    dbm_tests::schema!(Twice);
    run(async {
        let warnings = warnings("twice.db");
        let directory = TempDir::new().unwrap();
        let config = config(&directory).db_name("twice.db");
        open_and_close::<Twice>(&config).await;
        open_and_close::<Twice>(&config).await;
        let warning = warnings.try_recv().unwrap();
        assert!(
            warning.contains("could not be compared") && warning.contains("no more of these"),
            "{warning}"
        );
    });
}

release!(
    Written,
    "1.0.0",
    "CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE);
     CREATE TABLE user (
         id INTEGER PRIMARY KEY,
         name TEXT NOT NULL COLLATE NOCASE DEFAULT 'Nobody' CHECK (name <> x'AB' AND id = id),
         nick TEXT,
         team INTEGER REFERENCES team (id) ON DELETE CASCADE,
         UNIQUE (nick COLLATE RTRIM)
     );
     CREATE INDEX by_name ON user (nick COLLATE NOCASE DESC, name);
     CREATE UNIQUE INDEX by_expression ON user (lower(nick) COLLATE NOCASE) WHERE nick IS NOT NULL;
     CREATE VIEW adult AS SELECT id FROM user WHERE name = 'x' COLLATE NOCASE;
     CREATE TRIGGER t AFTER UPDATE ON user BEGIN DELETE FROM team WHERE id = new.id; END",
    ""
);
release!(
    Respelled,
    "1.0.0",
    "create table Team (id integer primary key, name text collate \"NoCase\" unique);
     create table if not exists [USER] (
         \"id\" INTEGER PRIMARY KEY,
         `name` text collate 'nocase' not null default \"Nobody\" check (NAME != X'ab' and \"id\" == ID),
         nick TEXT COLLATE binary,
         team Integer references \"TEAM\" ([ID]) on delete cascade,
         unique (\"nick\" collate rtrim)
     );
     create index BY_NAME on USER (Nick collate noCase desc, NAME collate [nocase]);
     create unique index by_expression on user (LOWER(nick) collate \"nocase\") where NICK is not null;
     create view ADULT as select ID from [user] where NAME == 'x' collate nocase;
     create trigger T after update on User begin delete from TEAM where ID = NEW.id; end",
    ""
);
release!(
    Meant,
    "1.0.0",
    "CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT COLLATE RTRIM UNIQUE);
     CREATE TABLE user (
         id INTEGER PRIMARY KEY,
         name TEXT NOT NULL DEFAULT 'nobody' CHECK (name <> x'AC' AND id = id),
         nick TEXT,
         team INTEGER REFERENCES team (name) ON DELETE CASCADE,
         UNIQUE (nick)
     );
     CREATE INDEX by_name ON user (nick DESC, name);
     CREATE UNIQUE INDEX by_expression ON user (lower(nick) COLLATE NOCASE) WHERE nick IS NOT NULL;
     CREATE VIEW adult AS SELECT id FROM user WHERE name = 'X' COLLATE NOCASE;
     CREATE TRIGGER t AFTER UPDATE ON user BEGIN DELETE FROM team WHERE id <> new.id; END",
    ""
);

#[test]
fn another_spelling_of_the_same_is_no_drift() {
    run(async {
        let directory = TempDir::new().unwrap();
        let written = Written::create(config(&directory)).await.unwrap();
        written.close().await.unwrap();
        let respelled = Respelled::create(strict(&directory)).await.unwrap();
        respelled.close().await.unwrap();

        let differences = differences(
            Meant::create(strict(&directory))
                .await
                .map(drop)
                .unwrap_err(),
        );
        for line in [
            "name TEXT COLLATE RTRIM",
            "name TEXT NOT NULL DEFAULT 'nobody'",
            "CHECK (name <> x'ac' and id = id)",
            "FOREIGN KEY (team) REFERENCES team (name) ON DELETE CASCADE",
            "UNIQUE (nick)",
            "ON user (nick DESC, name)",
            "as select id from user where name = 'X' collate nocase",
            "id <> new.id",
        ] {
            let added = |text: &str| text.starts_with('+') && text.contains(line);
            assert!(differences.lines().any(added), "{line}:\n{differences}");
        }
        assert!(!differences.contains("by_expression"), "{differences}");
    });
}
