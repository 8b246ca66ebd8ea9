//! Every file that the Python package made or met, as the manifest beside it says.

use std::fs;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use dbm_core::rusqlite::types::Value as Sql;
use dbm_tests::{Hooks, Store, bytes, names, open_files, run, within};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::files::Contents;

/// One file, with the version it is opened with and what Python did then.
struct Case {
    directory: PathBuf,
    fixture: Json,
    reference: Json,
}

/// What the manifest expects of a file.
#[derive(Debug, PartialEq)]
enum Expected {
    Opens,
    Fails,
    IsNew,
    OpensWithoutUsers,
    RollsBackTheJournal,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let directories = names(&root)
        .into_iter()
        .filter(|name| name.starts_with('v'))
        .map(|name| root.join(name));
    let mut cases = Vec::new();
    for directory in directories {
        let manifest: Json =
            serde_json::from_slice(&fs::read(directory.join("MANIFEST.json")).unwrap()).unwrap();
        for fixture in manifest["fixtures"].as_array().unwrap() {
            for reference in fixture["reference"].as_array().unwrap() {
                cases.push(Case {
                    directory: directory.clone(),
                    fixture: fixture.clone(),
                    reference: reference.clone(),
                });
            }
        }
    }
    cases
}

impl Case {
    fn file(&self) -> &str {
        self.fixture["file"].as_str().unwrap()
    }

    fn target(&self) -> Version {
        Version::parse(self.reference["target"].as_str().unwrap()).unwrap()
    }

    /// Where the manifest gives a rule for a file, it goes before what Python did.
    fn expected(&self) -> Expected {
        let rule = self.fixture["expected"].as_str().unwrap();
        match rule {
            _ if rule.starts_with("opens: RUNNING") => {
                match self.reference["status"].as_str().unwrap() {
                    "RUNNING" => Expected::Opens,
                    "FAILED" => Expected::Fails,
                    other => panic!("unknown status {other}"),
                }
            }
            _ if rule.starts_with("start-up fails") || rule.starts_with("FAILED") => {
                Expected::Fails
            }
            _ if rule.starts_with(
                "cannot be told from an application without tables: opens RUNNING",
            ) =>
            {
                Expected::Opens
            }
            _ if rule.starts_with("an empty file counts as a new database") => Expected::IsNew,
            _ if rule.starts_with("opens RUNNING; a read of users") => Expected::OpensWithoutUsers,
            _ if rule.starts_with("opens as 0.0.1, no row of pad starts with NEW") => {
                Expected::RollsBackTheJournal
            }
            _ => panic!("unknown rule: {rule}"),
        }
    }

    /// Copies the file and what belongs to it, and gives its configuration.
    fn copy(&self, directory: &Path) -> Config {
        let sidecars = self.fixture["sidecars"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap());
        for name in sidecars.chain([self.file()]) {
            fs::copy(self.directory.join(name), directory.join(name)).unwrap();
        }
        Config::new(directory)
            .db_name(self.file())
            .version(self.target())
    }
}

async fn check(case: &Case) {
    let directory = TempDir::new().unwrap();
    let config = case.copy(directory.path());
    let path = directory.path().join(case.file());
    match case.expected() {
        Expected::Opens => opens(case, config, &path).await,
        Expected::Fails => fails(case, config, directory.path()).await,
        Expected::IsNew => is_new(config, &path).await,
        Expected::OpensWithoutUsers => opens_without_users(config).await,
        Expected::RollsBackTheJournal => rolls_back_the_journal(config, &path).await,
    }
    assert!(
        open_files(directory.path()).is_empty(),
        "a descriptor is left over"
    );
}

async fn opens(case: &Case, config: Config, path: &Path) {
    let copy = TempDir::new().unwrap();
    fs::copy(path, copy.path().join("before.db")).unwrap();
    let before = Contents::of(&copy.path().join("before.db"));

    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    let migrations = case.reference["migrate_calls"].as_array().unwrap();
    assert_eq!(
        store.calls(),
        migrations
            .iter()
            .map(|call| call.as_str().unwrap())
            .collect::<Vec<_>>()
    );
    assert_eq!(store.get_version().await.unwrap(), case.target());
    assert_eq!(
        case.reference["get_version"].as_str().unwrap(),
        case.target().to_string()
    );
    if let Some(expected) = case.fixture["rows"].as_object() {
        for (table, count) in expected {
            let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
            assert_eq!(
                store.number(&sql).await.unwrap(),
                count.as_i64().unwrap(),
                "{table}"
            );
        }
    }
    if before.tables.contains_key("users") {
        let users = store.users().await.unwrap();
        assert_eq!(users, python_users());
    }
    store.close().await.unwrap();
    assert_eq!(Contents::of(path), before);
    let backups = names(path.parent().unwrap()).len() - 1;
    assert_eq!(
        backups,
        migrations.len(),
        "only a migration leaves a second file, its backup"
    );
}

async fn fails(case: &Case, config: Config, directory: &Path) {
    let before = bytes(directory);
    let store = Store::start_hooked(config, Hooks::default());
    let error = store.ensure_ready().await.unwrap_err();
    assert_eq!(store.status(), Status::Failed);
    assert_eq!(
        store.calls(),
        [""; 0],
        "no hook may see a file that is refused"
    );
    assert_eq!(
        bytes(directory),
        before,
        "a refused file is untouched, and nothing is put beside it"
    );
    assert_typed(case, &error);
    assert!(error.to_string().len() < 600, "bounded");
    assert_eq!(
        store.ensure_ready().await.unwrap_err().to_string(),
        error.to_string(),
        "the same answer every time"
    );
    let Error::Failed { method, cause } = store.add(1, "x").await.unwrap_err() else {
        panic!("not Failed")
    };
    assert_eq!((method, cause.to_string()), ("add", error.to_string()));
    assert!(matches!(
        store.get_version().await,
        Err(Error::Failed { .. })
    ));
    store.close().await.unwrap();
    assert_eq!(store.status(), Status::Failed);
    assert_eq!(bytes(directory), before);
}

/// The cause is a variant of its own, and its text names the versions or the count.
fn assert_typed(case: &Case, error: &Error) {
    let (name, text) = (case.file(), error.to_string());
    match error {
        Error::TooNew {
            stored, required, ..
        } => {
            assert_eq!(**required, case.target());
            assert!(
                text.contains(&stored.to_string()) && text.contains(&required.to_string()),
                "{text}"
            );
        }
        Error::InvalidVersion { .. } => {
            assert!(
                name.starts_with("broken_version") || name.starts_with("version_"),
                "{name}: {text}"
            );
            let counts = [
                ("_empty", "0 rows"),
                ("_two_rows", "2 rows"),
                ("_1000_rows", "1001 rows"),
            ];
            for (_, count) in counts.iter().filter(|(file, _)| name.contains(file)) {
                assert!(text.contains(count), "{text}");
            }
        }
        Error::ForeignDatabase { .. } => assert_eq!(name, "broken_version_missing.db"),
        Error::Sqlite(_) => {
            assert!(
                name.contains("truncated") || name.contains("garbage") || name.contains("future"),
                "{name}: {text}"
            );
            assert!(
                matches!(error.sqlite_code(), Some(11 | 26)),
                "corrupt or not a database: {text}"
            );
        }
        other => panic!("{name}: {other:?}"),
    }
    let python = case.reference["ensure_ready"].as_str().unwrap();
    if python.contains("is bigger than required version") {
        assert!(matches!(error, Error::TooNew { .. }), "{error:?}");
    }
}

async fn is_new(config: Config, path: &Path) {
    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    assert_eq!(store.calls(), ["init_db"]);
    assert_eq!(store.get_version().await.unwrap(), Version::new(0, 0, 1));
    store.add(1, "x").await.unwrap();
    store.close().await.unwrap();
    assert_eq!(Contents::of(path).tables["note"].len(), 1);
}

async fn opens_without_users(config: Config) {
    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    let error = store.users().await.unwrap_err();
    assert_eq!(
        error.sqlite_code().map(|code| code & 0xff),
        Some(11),
        "{error}"
    );
    assert_eq!(store.number("SELECT count(*) FROM notes").await.unwrap(), 4);
    store
        .write("INSERT INTO notes (user_id, body) VALUES (1, 'still writes')")
        .await
        .unwrap_err();
    store
        .write("INSERT INTO \"odd \"\"name\"\"; --\" VALUES ('still writes')")
        .await
        .unwrap();
    assert_eq!(store.status(), Status::Running);
    store.close().await.unwrap();
}

async fn rolls_back_the_journal(config: Config, path: &Path) {
    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    assert_eq!(store.calls(), [""; 0]);
    assert_eq!(store.get_version().await.unwrap(), Version::new(0, 0, 1));
    assert_eq!(
        store
            .number("SELECT count(*) FROM pad WHERE x LIKE 'NEW%'")
            .await
            .unwrap(),
        0
    );
    store.close().await.unwrap();
    assert_eq!(names(path.parent().unwrap()), ["hot_journal.db"]);
    assert!(
        Contents::of(path).tables["pad"]
            .iter()
            .flatten()
            .all(|value| !is_new_text(value))
    );
}

fn is_new_text(value: &Sql) -> bool {
    matches!(value, Sql::Text(text) if text.starts_with("NEW"))
}

type User = (
    i64,
    String,
    Option<String>,
    f64,
    Option<Vec<u8>>,
    Option<i64>,
);

/// The rows as the manifest shows them, in Python's notation.
fn python_users() -> Vec<User> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        (
            1,
            "Ada".into(),
            text("ada@example.org"),
            1.5,
            Some(vec![0, 1, 255]),
            Some(i64::MAX),
        ),
        (
            2,
            "Bőske Ő 🦀".into(),
            None,
            -0.25,
            Some(vec![]),
            Some(i64::MIN),
        ),
        (
            3,
            "'; DROP TABLE users;--".into(),
            text("x\0y@example.org"),
            1e308,
            None,
            Some(0),
        ),
        (
            4,
            String::new(),
            text("ünï@example.org"),
            0.1,
            Some((0..=255).collect()),
            None,
        ),
    ]
}

trait Users {
    async fn users(&self) -> Result<Vec<User>>;
}

impl Users for Store {
    #[database_safe]
    async fn users(&self, db: &mut ReadTransaction) -> Result<Vec<User>> {
        db.query(
            "SELECT id, name, email, score, avatar, big FROM users ORDER BY id",
            (),
        )
        .await
    }
}

#[test]
fn every_file_of_the_reference_is_treated_as_its_manifest_says() {
    let cases = cases();
    assert!(cases.len() >= 40, "only {} cases found", cases.len());
    run(async move {
        let mut wrong = Vec::new();
        for case in cases {
            let name = format!(
                "{}/{} at {}",
                case.directory.display(),
                case.file(),
                case.target()
            );
            if tokio::spawn(async move { within(check(&case)).await })
                .await
                .is_err()
            {
                wrong.push(name);
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
