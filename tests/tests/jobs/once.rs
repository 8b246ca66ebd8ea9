//! A job in a write transaction takes effect exactly once.

use dbm_core::prelude::*;
use dbm_core::testing::{TestDirectory, run_due_jobs};
use dbm_tests::run;

use super::{Store, logged_by};

/// Another worker has claimed the job while it ran, because this process seemed to have ended.
const TAKEN_OVER: &str = "UPDATE _dbm_job SET token = token + 1, owner = owner + 1";

#[test]
fn a_run_whose_job_was_taken_over_is_undone_in_a_transaction() {
    let log = logged_by(|| {
        run(async {
            let directory = TestDirectory::new().unwrap();
            let file = directory.path().join("database.db");
            let store = Store::open(directory.config()).await.unwrap();
            // It runs beside the database, so that another one can write meanwhile.
            store.enqueue(Store::wait_job()).await.unwrap();
            store.running.acquire().await.unwrap().forget();
            let open = || dbm_core::rusqlite::Connection::open(&file).unwrap();
            open().execute_batch(TAKEN_OVER).unwrap();
            store.may_end.add_permits(1);
            assert_eq!(store.written(1).await, ["waited"]);
            store.close().await.unwrap();
            let left: i64 = open()
                .query_row("SELECT count(*) FROM _dbm_job", (), |row| row.get(0))
                .unwrap();
            assert_eq!(left, 1, "it is the other's");
        });
    });
    assert!(log.contains("it may have run twice"), "{log}");
}

#[test]
fn the_effect_and_the_end_of_a_job_are_one_transaction() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let file = directory.path().join("database.db");
        let store = Store::open(directory.config()).await.unwrap();
        store.enqueue(Store::wait_inside_job()).await.unwrap();
        store.running.acquire().await.unwrap().forget();
        let see = |sql: &str| {
            let other = dbm_core::rusqlite::Connection::open(&file).unwrap();
            let number = other.query_row(sql, (), |row| row.get::<_, i64>(0));
            number.unwrap()
        };
        let both = "SELECT (SELECT count(*) FROM note) * 10 + (SELECT count(*) FROM _dbm_job)";
        assert_eq!(see(both), 1);
        store.may_end.add_permits(1);
        while see(both) == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(see(both), 10);
        store.close().await.unwrap();
    });
}

/// The claim number of the row is not that of this worker any more.
#[test]
fn a_job_in_a_transaction_does_nothing_if_it_is_anothers() {
    run(async {
        let store = Store::by_hand().await;
        store
            .enqueue(Store::insert_job("never".into()))
            .await
            .unwrap();
        // As soon as it is claimed.
        store
            .sql(
                "CREATE TRIGGER taken AFTER UPDATE OF owner ON _dbm_job WHEN new.owner > 0
                 BEGIN UPDATE _dbm_job SET token = token + 1 WHERE id = new.id; END",
            )
            .await
            .unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert!(store.notes().await.unwrap().is_empty());
        assert_eq!(
            store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
            1
        );
        store.close().await.unwrap();
    });
}

/// The commit of the claim happened, though its outcome was unknown: the process has the job, and does not know of it.
#[test]
fn a_job_that_was_claimed_by_a_commit_of_unknown_outcome_runs() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let file = directory.path().join("database.db");
        let store = Store::open(directory.config()).await.unwrap();
        store
            .enqueue(Store::note_job(1, "first".into()))
            .await
            .unwrap();
        store.written(1).await;
        let hour = std::time::Duration::from_secs(3_600);
        store
            .enqueue_in(Store::note_job(2, "second".into()), hour)
            .await
            .unwrap();
        let claim = "UPDATE _dbm_job SET due = 0, attempts = 1, token = 1, owner = (SELECT id FROM _dbm_worker)";
        let other = dbm_core::rusqlite::Connection::open(file).unwrap();
        assert_eq!(other.execute(claim, ()).unwrap(), 1);
        assert_eq!(store.written(2).await, ["1 first", "2 second"]);
        store.close().await.unwrap();
    });
}

/// Three processes: the second one has deleted the row of an idle one, and the third one has not seen that.
#[test]
fn a_sign_of_life_never_looks_like_an_older_one() {
    run(async {
        let store = Store::by_hand().await;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            run_due_jobs(&store).await.unwrap();
            let rows = store
                .number("SELECT count(*) FROM _dbm_worker")
                .await
                .unwrap();
            if rows > 0 {
                let beat = "SELECT beat FROM _dbm_worker";
                seen.push(store.number(beat).await.unwrap());
                store.sql("DELETE FROM _dbm_worker").await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_ne!(seen[0], seen[1]);
        store.close().await.unwrap();
    });
}
