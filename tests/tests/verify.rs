//! A check of a file tells all it has found, however damaged the file is.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite::{self, Connection as Sqlite};
use dbm_core::{SchemaComparison, SchemaDrift};
use dbm_tests::{Dice, Store, open_files, run, within};
use tempfile::TempDir;

const PAGE: usize = 4096;

/// A database with an index of several pages, an orphan and a key to nowhere, closed.
async fn sample() -> TempDir {
    let directory = TempDir::new().unwrap();
    Store::make(directory.path(), "1.0.0").await.unwrap();
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = OFF;
        CREATE INDEX by_text ON note (text) WHERE id > 1999;
        WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n LIMIT 2000) INSERT INTO note SELECT x, hex(x) || hex(zeroblob(40)) FROM n;
        CREATE TABLE child (id INTEGER PRIMARY KEY, note REFERENCES note); INSERT INTO child VALUES (1, 1), (2, 1000000), (3, NULL);
        CREATE TABLE lost (a, b, FOREIGN KEY (a, b) REFERENCES nowhere); INSERT INTO lost VALUES (1, 2), (NULL, 1);",
    )
    .unwrap();
    directory
}

/// The page of a table or an index where its content begins.
fn root(directory: &Path, name: &str) -> usize {
    let db = Sqlite::open(directory.join("database.db")).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    db.query_row(sql, (name,), |row| row.get(0)).unwrap()
}

/// What SQLite's own check yields: rows, and then perhaps an error.
fn integrity_check(directory: &Path) -> Vec<Result<String, rusqlite::Error>> {
    let db = Sqlite::open(directory.join("database.db")).unwrap();
    let mut statement = db.prepare("PRAGMA integrity_check").unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect()
}

fn damage(directory: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let path = directory.join("database.db");
    let mut file = fs::read(&path).unwrap();
    change(&mut file);
    fs::write(path, file).unwrap();
}

async fn verified(directory: &Path) -> dbm_core::Verification {
    let store = Store::open(directory, "1.0.0").await.unwrap();
    let found = within(store.verify()).await.unwrap();
    within(store.close()).await.unwrap();
    found
}

#[test]
fn a_sound_file_has_no_findings() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let found = verified(directory.path()).await;
        assert!(found.is_sound(), "{found}");
        assert_eq!(found.to_string(), "sound");
    });
}

/// The releases of one program, whose second developer forgot to raise the version.
macro_rules! release {
    ($name:ident, $sql:literal) => {
        #[derive(DbManager)]
        #[db_manager(version = "1.0.0")]
        struct $name {
            core: ManagerCore,
        }

        dbm_tests::schema!($name, $sql, "");
    };
}

release!(First, "CREATE TABLE user (id INTEGER PRIMARY KEY) STRICT");
release!(
    Edited,
    "CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT) STRICT"
);
release!(Broken, "CREATE TABLE");

#[test]
fn a_schema_that_init_db_does_not_make_is_a_finding() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = Config::new(directory.path());
        let first = First::create(config.clone()).await.unwrap();
        assert_eq!(first.verify().await.unwrap().schema, SchemaComparison::Same);
        first.close().await.unwrap();

        let edited = Edited::create(config.clone()).await.unwrap();
        let found = within(edited.verify()).await.unwrap();
        let differences = "  TABLE user\n+   email TEXT".to_owned();
        assert!(!found.is_sound());
        assert_eq!(
            found.to_string(),
            format!("the schema is not what init_db makes:\n{differences}")
        );
        assert_eq!(found.schema, SchemaComparison::Drift { differences });
        edited.close().await.unwrap();

        let ignored = config.clone().schema_drift(SchemaDrift::Ignore);
        let given = Edited::create_with(config.clone(), |core| Edited { core });
        for edited in [Edited::create(ignored).await.unwrap(), given.await.unwrap()] {
            let found = within(edited.verify()).await.unwrap();
            assert!(found.is_sound());
            assert!(
                matches!(&found.schema, SchemaComparison::NotCompared { why } if why == "it is not asked for"),
                "{found:?}"
            );
            edited.close().await.unwrap();
        }

        let broken = Broken::create(config).await.unwrap();
        let found = within(broken.verify()).await.unwrap();
        assert!(
            matches!(&found.schema, SchemaComparison::NotCompared { why } if why.contains("incomplete input")),
            "{found:?}"
        );
        broken.close().await.unwrap();
    });
}

/// `init_db` then runs on the manager itself, whose call is `verify`.
#[test]
fn a_manager_that_was_given_its_fields_compares_its_schema_if_asked_to() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = Config::new(directory.path()).schema_drift(SchemaDrift::Warn);
        let store = First::create_with(config, |core| First { core })
            .await
            .unwrap();
        let found = within(store.verify()).await.unwrap();
        assert_eq!(found.schema, SchemaComparison::Same);
        store.close().await.unwrap();
        let error = store.verify().await.unwrap_err();
        assert!(
            matches!(error, Error::Closed { method: "verify" }),
            "{error}"
        );
    });
}

#[test]
fn foreign_keys_are_told_of_each_by_itself() {
    run(async {
        let directory = sample().await;
        let found = verified(directory.path()).await;
        assert_eq!(found.integrity, [""; 0]);
        let [child, lost] = &found.foreign_keys[..] else {
            panic!("{found}")
        };
        assert_eq!(
            (&*child.child, &*child.parent, child.rows),
            ("child", "note", 1)
        );
        assert_eq!(
            (&child.columns[..], child.unusable),
            (&["note".to_owned()][..], None)
        );
        assert_eq!(
            (&*lost.child, &*lost.parent, lost.rows),
            ("lost", "nowhere", 1)
        );
        assert_eq!(lost.unusable, Some("there is no such table"));
        let text = found.to_string();
        assert!(
            text.contains("1 rows of child (note) have no parent in note"),
            "{text}"
        );
    });
}

#[test]
fn faults_that_were_found_before_a_damaged_page_are_kept() {
    run(async {
        let directory = sample().await;
        // An index that misses rows, and behind it a page of garbage: the check ends there with an error.
        let db = Sqlite::open(directory.path().join("database.db")).unwrap();
        db.execute_batch(
            "PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, '1999', '1990') WHERE name = 'by_text'",
        )
        .unwrap();
        drop(db);
        let root = root(directory.path(), "child");
        damage(directory.path(), |file| {
            file[(root - 1) * PAGE..][..PAGE].fill(0xff);
        });
        let plain = integrity_check(directory.path());
        assert!(plain.len() > 1, "{plain:?}");
        assert!(plain.last().unwrap().is_err(), "{plain:?}");

        let found = verified(directory.path()).await;
        assert!(found.integrity.len() > 1, "{found}");
        assert!(
            found.integrity.iter().any(|line| line.contains("by_text")),
            "{found}"
        );
        let lost = found
            .foreign_keys
            .iter()
            .find(|fault| fault.child == "lost");
        assert!(lost.is_some(), "the other keys are judged: {found}");
    });
}

#[test]
fn any_damage_is_a_finding_and_no_error() {
    run(async {
        let sample = sample().await;
        let pages = fs::read(sample.path().join("database.db")).unwrap().len() / PAGE;
        let mut found_something = 0;
        for seed in 0..100 {
            let mut dice = Dice::new(seed);
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("database.db");
            fs::copy(sample.path().join("database.db"), &path).unwrap();
            damage(directory.path(), |file| {
                let page = 1 + dice.below(pages - 1);
                match dice.below(3) {
                    0 => file[page * PAGE..][..PAGE].fill_with(|| dice.any().to_le_bytes()[0]),
                    1 => (0..8).for_each(|_| {
                        file[page * PAGE + dice.below(16)] = dice.any().to_le_bytes()[0]
                    }),
                    _ => file.truncate(page * PAGE + dice.below(PAGE)),
                }
            });
            let Ok(store) = Store::open(directory.path(), "1.0.0").await else {
                continue;
            };
            let found = within(store.verify()).await.unwrap();
            found_something += usize::from(!found.integrity.is_empty());
            within(store.close()).await.unwrap();
            assert!(open_files(directory.path()).is_empty());
        }
        assert!(found_something > 50, "{found_something}");
    });
}

#[test]
fn a_check_is_ended_like_any_call() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let db = Sqlite::open(directory.path().join("database.db")).unwrap();
        // Takes hours to check: the expression of the index, for each row. (SQLite leaves CHECK constraints out where it cannot
        // write.)
        db.execute_batch(
            "CREATE TABLE slow (x);
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000) INSERT INTO slow SELECT 1000000 FROM n;
            CREATE INDEX by_length ON slow (length(x));
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, 'length(x)', 'length(x) + 0 * length(hex(zeroblob(x)))')",
        )
        .unwrap();
        drop(db);
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        let checking = std::sync::Arc::clone(&store);
        let check = tokio::spawn(async move { checking.verify().await });
        assert!(
            tokio::time::timeout(Duration::from_millis(50), store.verify())
                .await
                .is_err()
        );
        within(store.close_within(Duration::from_millis(10)))
            .await
            .unwrap();
        assert!(within(check).await.unwrap().is_err());
        assert!(open_files(directory.path()).is_empty());
    });
}
