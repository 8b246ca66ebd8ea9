//! The jobs of a restored file may have been done since the backup was made.

use dbm_core::prelude::*;
use dbm_core::testing::{TestDirectory, run_due_jobs};
use dbm_tests::run;

use super::{HOUR, Store};

const OWNERS: &str = "UPDATE _dbm_job SET owner = 7, attempts = attempts + 1 WHERE kind = 'insert';
    INSERT INTO _dbm_worker VALUES (7, 1)";

#[test]
fn the_jobs_of_a_restored_file_are_held_until_they_are_released() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
        let config = Config::new(&data).job_workers(0);
        let store = Store::open(config.clone()).await.unwrap();
        store
            .enqueue(Store::note_job(1, "waits".into()))
            .await
            .unwrap();
        store
            .enqueue(Store::insert_job("runs".into()))
            .await
            .unwrap();
        store
            .enqueue_in(Store::note_once_job(3, "later".into()), HOUR)
            .await
            .unwrap();
        // As if a worker ran it at that moment.
        store.sql(OWNERS).await.unwrap();
        store.back_up(&copy).await.unwrap();
        store.close().await.unwrap();

        let restored = Store::restore(&copy, config.clone()).await.unwrap();
        assert_eq!(restored.held_jobs, 3);
        let store = Store::open(config).await.unwrap();
        run_due_jobs(&store).await.unwrap();
        assert!(store.notes().await.unwrap().is_empty(), "they are held");
        store
            .enqueue(Store::note_job(4, "new".into()))
            .await
            .unwrap();
        run_due_jobs(&store).await.unwrap();
        assert_eq!(store.notes().await.unwrap(), ["4 new"], "new ones are not");

        assert_eq!(store.jobs().release().await.unwrap(), 3);
        assert_eq!(store.jobs().release().await.unwrap(), 0);
        run_due_jobs(&store).await.unwrap();
        let mut notes = store.notes().await.unwrap();
        notes.sort();
        assert_eq!(notes, ["1 waits", "4 new", "runs"]);
        let first = store
            .number("SELECT max(attempts) FROM _dbm_job")
            .await
            .unwrap();
        assert_eq!(first, 0, "no run was counted");
        store.close().await.unwrap();
    });
}

#[test]
fn a_backup_whose_jobs_a_later_release_has_made_is_refused() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
        let config = Config::new(&data).job_workers(0);
        let store = Store::open(config.clone()).await.unwrap();
        store
            .sql("UPDATE _dbm_format SET number = 2")
            .await
            .unwrap();
        store.back_up(&copy).await.unwrap();
        store.close().await.unwrap();
        let error = Store::restore(&copy, config).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    });
}
