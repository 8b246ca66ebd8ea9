//! The disk is full.

use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{run, within};

use super::{ADD, Store};

// A full disk.

impl Store {
    #[database_safe]
    async fn add_much(&self, db: &mut WriteTransaction, ignore: bool) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        // More than the page cache holds, so that pages are written before the commit.
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 400000)
             INSERT INTO number SELECT 1000 + x FROM n";
        let result = db.execute(sql, ()).await;
        if ignore {
            let _ = result;
            let _ = db.execute(ADD, (2,)).await;
            return Ok(());
        }
        result.map(drop)
    }
}

/// Puts the device that is always full in the place of the log; not everybody may.
fn make_full(log: &Path) -> bool {
    let made = std::process::Command::new("mknod")
        .arg(log)
        .args(["c", "1", "7"])
        .output();
    made.is_ok_and(|made| made.status.success()) && std::fs::write(log, "x").is_err()
}

#[test]
fn a_full_disk_loses_the_transaction_and_the_next_start_finds_the_old_rows() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let store = Store::create(config.clone()).await.unwrap();
        store.add(7).await.unwrap();
        let log = store.path().unwrap().with_file_name("database.db-wal");
        store.close().await.unwrap();
        if !make_full(&log) {
            return eprintln!("skipped: no device that is always full can be made here");
        }

        let store = Store::create(config.clone()).await.unwrap();
        for ignore in [true, false] {
            let error = within(store.add_much(ignore)).await.unwrap_err();
            assert_eq!(
                error.sqlite_code().map(|code| code & 0xff),
                Some(rusqlite::ffi::SQLITE_FULL),
                "{error}"
            );
            assert!(
                !ignore || matches!(error, Error::TransactionLost { .. }),
                "{error}"
            );
        }
        for n in 10..20 {
            let error = within(store.add(n)).await.unwrap_err();
            assert_eq!(
                error.sqlite_code().map(|code| code & 0xff),
                Some(rusqlite::ffi::SQLITE_FULL),
                "{error}"
            );
        }
        let waiting: Vec<_> = (20..40)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.add(n).await })
            })
            .collect();
        for told in waiting {
            within(told).await.unwrap().unwrap_err();
        }
        within(store.close()).await.unwrap();
        let _ = std::fs::remove_file(&log);
        let store = Store::create(config).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [0, 7]);
        store.add(8).await.unwrap();
        store.close().await.unwrap();
    });
}
