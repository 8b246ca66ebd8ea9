//! Jobs run while their manager runs: not before, not after, and what is under way at its end is not lost.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::testing::TestDirectory;
use dbm_tests::{eventually, poll_once, run};

use super::{Store, logged_by};

#[test]
fn close_waits_for_the_jobs_that_run_and_starts_no_others() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let store = Store::open(directory.config().job_workers(1))
            .await
            .unwrap();
        store.enqueue(Store::wait_job()).await.unwrap();
        store.running.acquire().await.unwrap().forget();
        store
            .enqueue(Store::note_job(1, "next".into()))
            .await
            .unwrap();
        let mut close = Box::pin(store.close());
        assert!(poll_once(&mut close).await.is_pending());
        assert_eq!(store.status(), Status::Stopping);
        // What it calls passes the gate with it.
        store.may_end.add_permits(1);
        close.await.unwrap();
        let store = Store::open(directory.config().job_workers(0))
            .await
            .unwrap();
        assert_eq!(store.notes().await.unwrap(), ["waited"]);
        assert_eq!(
            store
                .number("SELECT sum(attempts) + count(*) FROM _dbm_job")
                .await
                .unwrap(),
            1
        );
        store.close().await.unwrap();
    });
}

#[test]
fn close_within_ends_jobs_without_an_attempt_and_the_next_start_runs_them_at_once() {
    run(async {
        for job in [Store::wait_job, Store::wait_inside_job] {
            let directory = TestDirectory::new().unwrap();
            let store = Store::open(directory.config()).await.unwrap();
            store.enqueue(job()).await.unwrap();
            store.running.acquire().await.unwrap().forget();
            store.close_within(Duration::from_millis(20)).await.unwrap();
            drop(store);

            let store = Store::open(directory.config().job_workers(0))
                .await
                .unwrap();
            let sql = "SELECT attempts * 10 + (owner IS NULL) FROM _dbm_job";
            assert_eq!(store.number(sql).await.unwrap(), 1);
            store.close().await.unwrap();

            let store = Store::open(directory.config()).await.unwrap();
            store.may_end.add_permits(1);
            assert_eq!(store.written(1).await, ["waited"]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_job_that_closes_its_manager_is_told_that_it_would_wait_for_itself() {
    #[derive(DbManager)]
    #[db_manager(version = "1.0.0", jobs(end))]
    struct Ends {
        core: ManagerCore,
    }
    dbm_tests::schema!(Ends);
    impl Ends {
        #[job(attempts = 1)]
        async fn end(&self) -> Result<()> {
            self.close().await
        }

        #[database_safe]
        async fn enqueue(&self, db: &mut WriteTransaction) -> Result<bool> {
            db.enqueue(Self::end_job()).await
        }
    }
    run(async {
        let store = Ends::create(Config::in_memory()).await.unwrap();
        store.enqueue().await.unwrap();
        let mut dead = Vec::new();
        while dead.is_empty() {
            dead = store.jobs().dead(1).await.unwrap();
        }
        assert_eq!(
            dead[0].cause,
            "close was called from inside a job: it would wait for itself"
        );
        store.close().await.unwrap();
    });
}

#[test]
fn jobs_wait_if_the_runtime_that_started_the_manager_is_gone_and_this_is_told() {
    let log = logged_by(|| {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let first = runtime();
        let store = first.block_on(Store::open(Config::in_memory())).unwrap();
        first.block_on(async {
            store
                .enqueue(Store::note_job(1, "runs".into()))
                .await
                .unwrap();
            store.written(1).await;
        });
        drop(first);
        runtime().block_on(async {
            store
                .enqueue(Store::note_job(2, "waits".into()))
                .await
                .unwrap();
            assert_eq!(
                store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
                1
            );
            store.close().await.unwrap();
        });
    });
    assert_eq!(
        log.matches("the runtime that started the manager is gone")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn a_manager_that_is_dropped_ends_its_jobs() {
    run(async {
        let store = Store::open(Config::in_memory().job_workers(2))
            .await
            .unwrap();
        let file = store.path().unwrap().to_owned();
        for _ in 0..100 {
            store.enqueue(Store::wait_job()).await.unwrap();
        }
        store.running.acquire_many(2).await.unwrap().forget();
        // Some more may begin before the manager is dropped, but not all.
        store.may_end.add_permits(50);
        drop(store);
        // A temporary database goes with its manager, which nobody keeps but two jobs.
        eventually(|| !file.exists()).await;
    });
}

#[test]
fn tables_of_a_later_release_refuse_jobs_and_nothing_else() {
    let log = logged_by(|| {
        run(async {
            let directory = TestDirectory::new().unwrap();
            let store = Store::open(directory.config().job_workers(0))
                .await
                .unwrap();
            store
                .enqueue(Store::note_job(1, "old".into()))
                .await
                .unwrap();
            store
                .sql("UPDATE _dbm_format SET number = 2")
                .await
                .unwrap();
            store.close().await.unwrap();

            let store = Store::open(directory.config()).await.unwrap();
            let refused = store.enqueue(Store::note_job(2, "new".into())).await;
            assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
            let refused = store.jobs().dead(1).await;
            assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
            store.write("works").await.unwrap();
            assert_eq!(store.notes().await.unwrap(), ["works"]);
            assert_eq!(
                store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
                1
            );
            store.close().await.unwrap();
        });
    });
    assert!(log.contains("made by a later release"), "{log}");
}

#[test]
fn jobs_of_a_kind_that_nobody_knows_stay_and_are_told_of_once() {
    let log = logged_by(|| {
        run(async {
            let directory = TestDirectory::new().unwrap();
            let store = Store::open(directory.config().job_workers(0))
                .await
                .unwrap();
            for number in 0..3 {
                store
                    .enqueue(Store::note_job(number, "gone".into()))
                    .await
                    .unwrap();
            }
            store
                .sql("UPDATE _dbm_job SET kind = 'gone'")
                .await
                .unwrap();
            store.close().await.unwrap();
            let store = Store::open(directory.config()).await.unwrap();
            store
                .enqueue(Store::note_job(1, "known".into()))
                .await
                .unwrap();
            assert_eq!(store.written(1).await, ["1 known"]);
            assert_eq!(
                store
                    .number("SELECT count(*) FROM _dbm_job WHERE kind = 'gone'")
                    .await
                    .unwrap(),
                3
            );
            store.close().await.unwrap();
        });
    });
    assert_eq!(log.matches("this manager lists none").count(), 1, "{log}");
}

#[test]
fn a_manager_without_workers_says_so() {
    let log = logged_by(|| {
        run(async {
            Store::by_hand().await.close().await.unwrap();
        });
    });
    assert!(log.contains("job_workers is 0"), "{log}");
}

#[test]
fn a_manager_that_only_reads_runs_no_job() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let store = Store::open(directory.config().job_workers(0))
            .await
            .unwrap();
        store.enqueue(Store::note_job(1, "x".into())).await.unwrap();
        store.close().await.unwrap();
        let store = Store::open(directory.config().read_only()).await.unwrap();
        assert_eq!(
            store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
            1
        );
        assert!(store.enqueue(Store::note_job(2, "y".into())).await.is_err());
        assert!(store.jobs().dead(1).await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}
