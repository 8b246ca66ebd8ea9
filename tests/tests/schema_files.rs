//! A schema that is files: a new database and a migrated one end alike, whatever was in them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_core::testing::{Migration, MigrationError, TestDirectory, schema};
use dbm_tests::run;

/// Its files rebuild a parent that has been given children, and one is followed by a step in Rust.
#[derive(DbManager)]
#[db_manager(version = "1.10.0", schema = "library", after("1.1.0" = Library::count))]
struct Library {
    core: ManagerCore,
}

impl Library {
    async fn count(&self, db: &mut WriteTransaction) -> Result<()> {
        let last: String = db
            .query_one("SELECT name FROM step ORDER BY place DESC LIMIT 1", ())
            .await?;
        db.execute(
            "INSERT INTO step (name) VALUES (?1)",
            (format!("after {last}"),),
        )
        .await?;
        self.note_step("by a call").await
    }

    #[database_safe]
    #[during_init]
    async fn note_step(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        db.execute("INSERT INTO step (name) VALUES (?1)", (name,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn steps(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT name FROM step ORDER BY place", ()).await
    }

    #[database_safe]
    async fn books(&self, db: &mut ReadTransaction) -> Result<Vec<(String, String)>> {
        let sql = "SELECT title, name FROM book JOIN shelf ON shelf.id = shelf ORDER BY book.id";
        db.query(sql, ()).await
    }

    #[database_safe]
    async fn add_book_on_no_shelf(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO book (title, shelf) VALUES ('x', 77)", ())
            .await?;
        Ok(())
    }
}

/// Its first releases were squashed into 1.1.0.
#[derive(DbManager)]
#[db_manager(version = "1.2.0", schema = "squashed")]
struct Squashed {
    core: ManagerCore,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "orphans")]
struct Orphans {
    core: ManagerCore,
}

/// The same schema, by hand.
#[derive(DbManager)]
#[db_manager(version = "1.1.0")]
struct ByHand {
    core: ManagerCore,
}

impl Schema for ByHand {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(include_str!("../schema/squashed/1.1.0.sql"))
            .await
    }
}

/// Its later files rebuild a table with all that can go with one.
#[derive(DbManager)]
#[db_manager(version = "1.2.0", schema = "rebuilt")]
struct Rebuilt {
    core: ManagerCore,
}

impl Rebuilt {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        db.query_one("INSERT INTO user (name) VALUES (?1) RETURNING id", (name,))
            .await
    }

    #[database_safe]
    async fn texts(&self, db: &mut ReadTransaction, sql: &str) -> Result<Vec<String>> {
        db.query(sql, ()).await
    }
}

/// A manager of anything.
#[derive(DbManager)]
#[db_manager(version = "1.2.0", schema = "squashed")]
struct Generic<T> {
    core: ManagerCore,
    _kind: std::marker::PhantomData<T>,
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn pair(title: &str, shelf: &str) -> (String, String) {
    (title.to_owned(), shelf.to_owned())
}

#[test]
fn a_new_database_keeps_the_children_of_a_seed_whose_parent_a_later_file_rebuilds() {
    run(async {
        let library = Library::create(Config::in_memory()).await.unwrap();
        assert_eq!(library.books().await.unwrap(), [pair("Emma", "novels")]);
        assert_eq!(
            library.steps().await.unwrap(),
            ["1.1.0 of 1", "after 1.1.0 of 1", "by a call", "1.2.0"]
        );
        let error = library.add_book_on_no_shelf().await.unwrap_err();
        assert!(
            error.to_string().contains("FOREIGN KEY"),
            "foreign keys are on afterwards: {error}"
        );
    });
}

#[test]
fn every_file_leads_to_what_a_new_database_is_with_its_rows() {
    run(async {
        for (release, counted) in [("1.0.0", 2), ("1.1.0", 1), ("1.2.0", 1), ("1.10.0", 1)] {
            let library = Migration::from_files(release)
                .seed("INSERT INTO shelf VALUES (2, 'Poems')")
                .seed("INSERT INTO book (title, shelf) VALUES ('Odes', 2) -- a child")
                .check::<Library>()
                .await
                .unwrap();
            assert_eq!(
                library.books().await.unwrap(),
                [pair("Emma", "novels"), pair("Odes", "Poems")],
                "{release}"
            );
            let first = format!("1.1.0 of {counted}");
            let expected = [&first, &format!("after {first}"), "by a call", "1.2.0"];
            assert_eq!(library.steps().await.unwrap(), expected, "{release}");
        }
    });
}

#[test]
fn a_database_is_made_as_of_the_version_that_is_written_into_it() {
    run(async {
        for release in ["1.0.0", "1.1.0", "1.2.0"] {
            let directory = TestDirectory::new().unwrap();
            let config = directory.config().version(version(release));
            let library = Library::create(config).await.unwrap();
            let has_step = schema(&library)
                .await
                .unwrap()
                .to_string()
                .contains("TABLE step");
            assert_eq!(has_step, release != "1.0.0", "{release}");
            assert_eq!(library.get_version().await.unwrap(), version(release));
            library.close().await.unwrap();

            let library = Library::create(directory.config()).await.unwrap();
            assert_eq!(library.steps().await.unwrap().len(), 4, "{release}");
        }
    });
}

#[test]
fn a_migration_stops_at_the_version_that_is_written_into_the_database() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        for release in ["1.0.0", "1.1.0"] {
            let config = directory.config().version(version(release));
            let library = Library::create(config).await.unwrap();
            library.close().await.unwrap();
        }
        let config = directory.config().version(version("1.1.0"));
        let library = Library::create(config).await.unwrap();
        assert_eq!(library.steps().await.unwrap().len(), 3, "without 1.2.0");
    });
}

#[test]
fn a_version_before_the_first_file_is_not_made() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = directory.config().version(version("1.0.9"));
        let error = Squashed::create(config).await.err().unwrap();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert!(error.to_string().contains("1.1.0"), "{error}");
        Squashed::create(directory.config()).await.unwrap();
    });
}

#[test]
fn what_is_older_than_the_first_file_is_refused_and_stays_as_it_is() {
    run(async {
        let sql = "CREATE TABLE note (text TEXT NOT NULL) STRICT";
        let error = Migration::from_sql("1.0.0", sql)
            .check::<Squashed>()
            .await
            .unwrap_err();
        let MigrationError::Failed(Error::MigrationRefused { from, to, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((*from, *to), (version("1.0.0"), version("1.2.0")));
    });
}

#[test]
fn a_schema_written_by_hand_moves_to_files_and_back() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let by_hand = ByHand::create(directory.config()).await.unwrap();
        by_hand.close().await.unwrap();
        let files = Squashed::create(directory.config()).await.unwrap();
        assert_eq!(files.get_version().await.unwrap(), version("1.2.0"));
        files.close().await.unwrap();
        let newer = directory.config().version(version("1.2.0"));
        let by_hand = ByHand::create(newer).await.unwrap();
        assert!(
            schema(&by_hand)
                .await
                .unwrap()
                .to_string()
                .contains("INDEX pinned_note")
        );
    });
}

#[test]
fn the_kit_has_no_old_files_of_a_schema_written_by_hand() {
    run(async {
        let error = Migration::from_files("1.0.0")
            .check::<ByHand>()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("from_sql"), "{error}");
    });
}

#[test]
fn a_new_database_with_an_orphan_is_not_made() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let error = Orphans::create(directory.config()).await.err().unwrap();
        let Error::ForeignKeys {
            child,
            parent,
            count,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((&*child, &*parent, count), ("child", "parent", 1));
        let file = Path::new(directory.path()).join("database.db");
        let tables: i64 = rusqlite::Connection::open(file)
            .unwrap()
            .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
    });
}

#[test]
fn drift_is_seen_against_the_files() {
    run(async {
        use dbm_core::SchemaDrift;
        let directory = TestDirectory::new().unwrap();
        let strict = || directory.config().schema_drift(SchemaDrift::Error);
        Library::create(strict())
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        Library::create(strict())
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let file = Path::new(directory.path()).join("database.db");
        rusqlite::Connection::open(file)
            .unwrap()
            .execute_batch("DROP TRIGGER no_page")
            .unwrap();
        let error = Library::create(strict()).await.err().unwrap();
        assert!(matches!(error, Error::SchemaDrift { .. }), "{error}");
    });
}

#[test]
fn a_table_that_is_rebuilt_keeps_its_rows_its_children_and_all_that_went_with_it() {
    run(async {
        for (release, added) in [("1.0.0", 2), ("1.1.0", 2), ("1.2.0", 2)] {
            let store = Migration::from_files(release)
                .seed("INSERT INTO user (name) VALUES ('Bob'), ('Cyd')")
                .seed("INSERT INTO note SELECT id, name FROM user")
                .seed("DELETE FROM user WHERE name = 'Cyd'; DELETE FROM log")
                .check::<Rebuilt>()
                .await
                .unwrap();
            assert_eq!(store.add("Dee").await.unwrap(), added + 2, "{release}");
            let texts = async |sql: &str| store.texts(sql).await.unwrap();
            assert_eq!(texts("SELECT name FROM name").await, ["Ada", "Bob", "Dee"]);
            assert_eq!(
                texts("SELECT text FROM note").await,
                ["a seed", "Ada", "Bob"]
            );
            assert_eq!(texts("SELECT text FROM log").await, ["Dee"], "{release}");
            let parts =
                "SELECT name FROM sqlite_schema WHERE tbl_name = 'user' AND type <> 'table'";
            assert_eq!(texts(parts).await, ["user_name", "user_log"], "{release}");
        }
    });
}

#[test]
fn a_manager_of_anything_has_files_too() {
    run(async {
        let store: Arc<Generic<u8>> = Generic::create(Config::in_memory()).await.unwrap();
        assert!(
            schema(&store)
                .await
                .unwrap()
                .to_string()
                .contains("TABLE note")
        );
    });
}

/// What the Python package made, and what it would read.
#[test]
fn a_file_of_the_python_package_walks_the_files_from_its_version() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let file = Path::new(directory.path()).join("database.db");
        let python = rusqlite::Connection::open(&file).unwrap();
        python
            .execute_batch(
                "CREATE TABLE Version (
                     major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL,
                     PRIMARY KEY (major, minor, patch)
                 );
                 INSERT INTO Version VALUES (1, 1, 0);
                 CREATE TABLE note (text TEXT NOT NULL, pinned INTEGER NOT NULL DEFAULT 0) STRICT;
                 INSERT INTO note VALUES ('from Python', 1)",
            )
            .unwrap();
        drop(python);
        let store = Squashed::create(directory.config()).await.unwrap();
        assert!(
            schema(&store)
                .await
                .unwrap()
                .to_string()
                .contains("INDEX pinned_note")
        );
        store.close().await.unwrap();
        let python = rusqlite::Connection::open(&file).unwrap();
        let read: (i64, i64, i64, String) = python
            .query_row(
                "SELECT major, minor, patch, text FROM Version, note",
                (),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(read, (1, 2, 0, "from Python".to_owned()));
    });
}
