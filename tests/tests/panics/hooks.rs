//! In `init_db` and `migrate_db`.

use std::path::Path;

use dbm_core::prelude::*;
use dbm_tests::{Hooks, open_files, run, within};

// In the hooks.

#[test]
fn a_panic_in_init_db_fails_the_start_and_leaves_nothing_behind() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let hooks = Hooks {
            init: Some(|_, db| {
                Box::pin(async move {
                    db.execute("INSERT INTO note (id, text) VALUES (1, 'x')", ())
                        .await?;
                    panic!("as asked")
                })
            }),
            migrate: None,
        };
        for _ in 0..3 {
            let store = dbm_tests::Store::start_hooked(config.clone(), hooks);
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Panicked { message, .. } if message == "as asked"),
                "{error}"
            );
            assert_eq!(store.status(), Status::Failed);
            let error = within(store.add(1, "x")).await.unwrap_err();
            assert!(
                matches!(error, Error::Failed { method: "add", .. }),
                "{error}"
            );
            assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
        }
        let store = dbm_tests::Store::create(config).await.unwrap();
        assert!(store.ids().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_panic_in_migrate_db_fails_the_start_and_leaves_the_file_as_it_was() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let store = dbm_tests::Store::create(config.clone()).await.unwrap();
        store.add(1, "x").await.unwrap();
        store.close().await.unwrap();
        let before = std::fs::read(directory.path().join("database.db")).unwrap();
        let hooks = Hooks {
            init: None,
            migrate: Some(|_, db| {
                Box::pin(async move {
                    db.execute_batch("DELETE FROM note; DROP TABLE note")
                        .await?;
                    panic!("as asked")
                })
            }),
        };
        for _ in 0..2 {
            let newer = config.clone().version(Version::new(2, 0, 0));
            let store = dbm_tests::Store::start_hooked(newer, hooks);
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Panicked { message, .. } if message == "as asked"),
                "{error}"
            );
            assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
            assert_eq!(
                std::fs::read(directory.path().join("database.db")).unwrap(),
                before
            );
        }
        let store = dbm_tests::Store::create(config).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        store.close().await.unwrap();
    });
}
