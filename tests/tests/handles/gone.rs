//! A bare connection whose file is gone does not say Ok: what it has written is gone, too.

use std::fs;
use std::path::Path;

use dbm_core::prelude::*;
use dbm_tests::{run, within};

use super::{EXECUTIONS, Store};

type Takes = fn(&Path);

const TAKES: [Takes; 6] = [
    |file| fs::remove_file(file).unwrap(),
    |file| fs::rename(file, file.with_extension("moved")).unwrap(),
    |file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).unwrap();
        fs::rename(copy, file).unwrap();
    },
    |file| {
        fs::remove_file(file).unwrap();
        fs::write(file, "something else").unwrap();
    },
    |file| fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    |file| {
        let directory = file.parent().unwrap();
        fs::rename(directory, directory.with_extension("moved")).unwrap();
    },
];

impl Store {
    #[database_safe]
    async fn write(&self, db: &mut Connection, sql: &str, take: Option<Takes>) -> Result<()> {
        let file = self.path().unwrap();
        db.execute("INSERT INTO number VALUES (4)", ()).await?;
        if let Some(take) = take {
            take(file);
        }
        // What SQLite makes of it is not what the caller is to rely on.
        let _ = db.execute_batch(sql).await;
        Ok(())
    }

    #[database_safe]
    async fn begin(&self, _: &mut Connection, begun: &std::sync::atomic::AtomicBool) -> Result<()> {
        begun.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_bare_connection_does_not_write_into_a_file_that_is_gone() {
    run(async {
        for execution in EXECUTIONS {
            for take in TAKES {
                for sql in [
                    "INSERT INTO number VALUES (5)",
                    "BEGIN; INSERT INTO number VALUES (5); COMMIT",
                    "VACUUM",
                    "CREATE TABLE other (n)",
                ] {
                    let directory = tempfile::tempdir().unwrap();
                    let config = Config::new(directory.path().join("data")).execution(execution);
                    let store = Store::create(config).await.unwrap();
                    let result = within(store.write(sql, Some(take))).await;
                    assert!(
                        matches!(result, Err(Error::FileReplaced { .. })),
                        "{result:?}"
                    );
                    let begun = std::sync::atomic::AtomicBool::new(false);
                    let result = within(store.begin(&begun)).await;
                    assert!(
                        matches!(result, Err(Error::FileReplaced { .. })),
                        "{result:?}"
                    );
                    assert!(!begun.into_inner(), "its body does not run");
                    within(store.close()).await.unwrap();
                }
            }
        }
    });
}

#[test]
fn a_bare_connection_finds_the_file_gone_before_its_body_runs() {
    run(async {
        for take in TAKES {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::create(Config::new(directory.path().join("data")))
                .await
                .unwrap();
            store.write("VACUUM", None).await.unwrap();
            take(store.path().unwrap());
            let begun = std::sync::atomic::AtomicBool::new(false);
            let result = within(store.begin(&begun)).await;
            assert!(
                matches!(result, Err(Error::FileReplaced { .. })),
                "{result:?}"
            );
            assert!(!begun.into_inner(), "its body does not run");
            within(store.close()).await.unwrap();
        }
    });
}
