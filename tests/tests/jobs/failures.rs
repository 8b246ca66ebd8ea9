//! A job that fails is tried again, as often as it says and no more; then it is kept, with its cause.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite::{self, ffi};
use dbm_core::testing::{Fault, fail_next, run_due_jobs};
use dbm_tests::run;

use super::{HOUR, Store, later};

#[test]
fn a_job_that_fails_is_tried_again_after_a_while() {
    run(async {
        let store = Store::by_hand().await;
        store.fail_with(1, Error::other("the receiver is out"));
        store.enqueue(Store::fail_job("try".into())).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        later(&store, Duration::from_secs(7));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        later(&store, Duration::from_secs(13));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.notes().await.unwrap(), ["try", "try"]);
        assert!(store.jobs().dead(10).await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_job_whose_attempts_are_used_up_is_kept_with_its_cause() {
    run(async {
        let store = Store::by_hand().await;
        store.fail_with(9, Error::other("the receiver is out"));
        for job in [
            Store::fail_job("a".into()),
            Store::insert_and_fail_job("b".into()),
        ] {
            store.enqueue(job).await.unwrap();
        }
        for hour in 0..5 {
            later(&store, hour * HOUR);
            run_due_jobs(&store).await.unwrap();
        }
        // At least once three times; in a transaction never, for each was rolled back.
        assert_eq!(store.notes().await.unwrap(), ["a", "a", "a"]);
        let mut dead = store.jobs().dead(10).await.unwrap();
        dead.sort_by_key(|job| job.arguments.clone());
        let seen: Vec<_> = dead
            .iter()
            .map(|job| {
                (
                    job.kind.as_str(),
                    job.arguments.as_str(),
                    job.attempts,
                    job.cause.as_str(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("fail", "[\"a\"]", 3, "the receiver is out"),
                ("insert_and_fail", "[\"b\"]", 3, "the receiver is out")
            ]
        );
        assert_eq!(store.jobs().dead(1).await.unwrap().len(), 1);
        store.close().await.unwrap();
    });
}

#[test]
fn a_dead_job_can_be_tried_again_and_discarded() {
    run(async {
        let store = Store::by_hand().await;
        for number in [1, 2] {
            store
                .enqueue(Store::note_once_job(number, "x".into()))
                .await
                .unwrap();
        }
        store.sql("UPDATE _dbm_job SET args = '[]'").await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 2);
        store
            .sql("UPDATE _dbm_job SET args = '[1, \"x\"]'")
            .await
            .unwrap();
        let dead = store.jobs().dead(10).await.unwrap();
        let [second, first] = [dead[0].id, dead[1].id];
        assert!(store.jobs().discard(second).await.unwrap());
        assert!(!store.jobs().discard(second).await.unwrap());
        assert!(!store.jobs().retry(second).await.unwrap());
        // Another like it waits meanwhile.
        store
            .enqueue(Store::note_once_job(1, "x".into()))
            .await
            .unwrap();
        assert!(!store.jobs().retry(first).await.unwrap());
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert!(store.jobs().retry(first).await.unwrap());
        assert!(!store.jobs().retry(first).await.unwrap());
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(
            store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
            0
        );
        store.close().await.unwrap();
    });
}

#[test]
fn a_dead_job_is_forgotten_after_thirty_days() {
    run(async {
        let directory = dbm_core::testing::TestDirectory::new().unwrap();
        let store = Store::open(directory.config().job_workers(0))
            .await
            .unwrap();
        store.fail_with(9, Error::NoRows);
        for text in ["old", "new"] {
            store.enqueue(Store::fail_job(text.into())).await.unwrap();
        }
        for hour in 0..5 {
            later(&store, hour * HOUR);
            run_due_jobs(&store).await.unwrap();
        }
        let day = 24 * 3_600 * 1_000;
        let age = format!("UPDATE _dbm_job SET died = died - 31 * {day} WHERE args = '[\"old\"]'");
        store.sql(&age).await.unwrap();
        store.close().await.unwrap();
        let store = Store::open(directory.config()).await.unwrap();
        while store.jobs().dead(10).await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(
            store.jobs().dead(10).await.unwrap()[0].arguments,
            "[\"new\"]"
        );
        store.close().await.unwrap();
    });
}

#[test]
fn arguments_that_no_longer_fit_are_dead_at_once_and_kept() {
    run(async {
        let store = Store::by_hand().await;
        for job in [
            Store::note_job(7, "a".into()),
            Store::insert_job("b".into()),
        ] {
            store.enqueue(job).await.unwrap();
        }
        store
            .sql("UPDATE _dbm_job SET args = '[\"seven\"]' WHERE kind = 'note'")
            .await
            .unwrap();
        store
            .sql("UPDATE _dbm_job SET args = 'no JSON' WHERE kind = 'insert'")
            .await
            .unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 2);
        let dead = store.jobs().dead(10).await.unwrap();
        assert_eq!(dead.len(), 2);
        for job in dead {
            assert_eq!(job.attempts, 1);
            assert!(
                job.cause.starts_with("the arguments do not fit"),
                "{}",
                job.cause
            );
            assert!(!job.cause.contains("seven"), "a value: {}", job.cause);
        }
        assert!(store.notes().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_panic_and_a_hang_are_failures_like_any_other() {
    run(async {
        let store = Store::open(Config::in_memory()).await.unwrap();
        for job in [
            Store::panic_job(false),
            Store::panic_job(true),
            Store::hang_job(),
        ] {
            store.enqueue(job).await.unwrap();
        }
        let mut dead = Vec::new();
        while dead.len() < 3 {
            dead = store.jobs().dead(10).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut causes: Vec<_> = dead.into_iter().map(|job| job.cause).collect();
        causes.sort();
        assert_eq!(
            causes,
            [
                "hang: timed out after 50ms",
                "panic panicked: the call is out of order",
                "panic panicked: the job is out of order"
            ]
        );
        assert!(store.notes().await.unwrap().is_empty());
        // The workers are still there.
        store
            .enqueue(Store::note_job(1, "after".into()))
            .await
            .unwrap();
        assert_eq!(store.written(1).await, ["1 after"]);
        store.close().await.unwrap();
    });
}

#[test]
fn what_the_database_is_to_blame_for_is_no_attempt() {
    run(async {
        let store = Store::by_hand().await;
        let busy = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
        let Error::Sqlite(source) = Error::from(busy) else {
            panic!("it is SQLite's");
        };
        let waited = Duration::from_secs(5);
        let errors = [
            Error::Busy { waited, source },
            Error::BatchLost { by: "another" },
            Error::Overloaded {
                method: "write",
                queued: 1,
            },
            Error::Closed { method: "write" },
            // As deep inside as they like.
            Error::other(std::io::Error::other(Error::BatchLost { by: "another" })),
        ];
        let mut hours = 0;
        for (number, error) in errors.into_iter().enumerate() {
            store.fail_with(20, error);
            store
                .enqueue(Store::fail_job(number.to_string()))
                .await
                .unwrap();
            for _ in 0..6 {
                hours += 1;
                later(&store, hours * HOUR);
                assert_eq!(run_due_jobs(&store).await.unwrap(), 1, "{number}");
            }
            assert_eq!(
                store.number("SELECT attempts FROM _dbm_job").await.unwrap(),
                0
            );
            store.fail_with(0, Error::NoRows);
            hours += 1;
            later(&store, hours * HOUR);
            assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        }
        store.close().await.unwrap();
    });
}

/// Its transaction cannot even begin.
#[test]
fn a_job_that_was_not_called_has_used_no_attempt() {
    run(async {
        let store = Store::by_hand().await;
        store.enqueue(Store::insert_job("x".into())).await.unwrap();
        let error = Error::AcquireTimeout {
            method: "insert",
            waited: HOUR,
            holder: "another",
            held: HOUR,
            queued: 1,
        };
        fail_next(&store, "insert_job", Fault::Error(error));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(
            store.number("SELECT attempts FROM _dbm_job").await.unwrap(),
            0
        );
        later(&store, HOUR);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.notes().await.unwrap(), ["x"]);
        store.close().await.unwrap();
    });
}

/// The end of a job cannot be written for a while.
#[test]
fn the_end_of_a_job_is_written_as_soon_as_that_is_possible() {
    run(async {
        let store = Store::by_hand().await;
        store.enqueue(Store::note_job(1, "x".into())).await.unwrap();
        fail_next(&store, "end a job", Error::other("the disk is full"));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.notes().await.unwrap(), ["1 x"]);
        assert_eq!(
            store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
            0
        );
        store.close().await.unwrap();
    });
}
