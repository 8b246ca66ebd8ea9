//! A schedule runs at the first start and then with its period: after a restart, too, and whatever the clock does.

use std::time::{Duration, SystemTime};

use dbm_core::prelude::*;
use dbm_core::testing::{TestDirectory, run_due_jobs, set_clock};
use dbm_tests::run;

use super::{HOUR, later, logged_by};

macro_rules! clock {
    ($name:ident, $every:literal) => {
        #[derive(DbManager)]
        #[db_manager(version = "1.0.0", jobs(tick))]
        struct $name {
            core: ManagerCore,
        }

        impl Schema for $name {
            async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
                let sql = "CREATE TABLE tick (id INTEGER PRIMARY KEY) STRICT";
                db.execute_batch(sql).await
            }
        }

        impl $name {
            #[job(every = $every, attempts = 2)]
            #[database_safe]
            async fn tick(&self, db: &mut WriteTransaction) -> Result<()> {
                db.execute("INSERT INTO tick DEFAULT VALUES", ())
                    .await
                    .map(drop)
            }

            #[database_safe]
            async fn ticks(&self, db: &mut ReadTransaction) -> Result<u64> {
                db.query_one("SELECT count(*) FROM tick", ()).await
            }
        }
    };
}

clock!(Hourly, "1h");
clock!(Minutely, "1m");
clock!(Quick, "100ms");

#[test]
fn a_schedule_runs_at_the_first_start_and_missed_runs_happen_once() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = || directory.config().job_workers(0);
        let store = Hourly::create(config()).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        store.close().await.unwrap();

        let store = Hourly::create(config()).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        later(&store, 10 * HOUR + HOUR / 2);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        // The rhythm is kept: the next one is at the full hour.
        later(&store, 11 * HOUR + Duration::from_secs(5));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.ticks().await.unwrap(), 3);
        store.close().await.unwrap();
    });
}

#[test]
fn a_changed_period_is_taken_over() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = || directory.config().job_workers(0);
        let store = Hourly::create(config()).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        store.close().await.unwrap();
        let store = Minutely::create(config()).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        later(&store, Duration::from_secs(61));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.ticks().await.unwrap(), 2);
        store.close().await.unwrap();
    });
}

#[test]
fn a_clock_that_is_set_back_puts_a_schedule_off_by_one_period_at_most() {
    run(async {
        let store = Minutely::create(Config::in_memory().job_workers(0))
            .await
            .unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        let back = SystemTime::now() - HOUR;
        set_clock(&store, back).unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        set_clock(&store, back + Duration::from_secs(61)).unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        set_clock(&store, SystemTime::now() + HOUR).unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        store.close().await.unwrap();
    });
}

/// The runner itself sees it, and says so.
#[test]
fn a_running_manager_goes_by_a_clock_that_jumps_either_way() {
    let log = logged_by(|| {
        run(async {
            let store = Hourly::create(Config::in_memory()).await.unwrap();
            let ticks = async |count| {
                while store.ticks().await.unwrap() < count {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            ticks(1).await;
            later(&store, HOUR + Duration::from_secs(1));
            ticks(2).await;
            set_clock(&store, SystemTime::now() - HOUR).unwrap();
            later(&store, 3 * HOUR);
            ticks(3).await;
            store.close().await.unwrap();
        });
    });
    assert!(log.contains("clock was set"), "{log}");
}

#[test]
fn a_schedule_that_fails_runs_again_at_its_next_time() {
    run(async {
        let store = Hourly::create(Config::in_memory().job_workers(0))
            .await
            .unwrap();
        let minute = Duration::from_secs(60);
        for _ in 0..3 {
            dbm_core::testing::fail_next(&store, "tick", Error::other("out of order"));
        }
        // Both attempts of the first run.
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        later(&store, minute);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        later(&store, 2 * minute);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        assert!(store.jobs().dead(10).await.unwrap().is_empty());
        // The second run has success at last, and does not change the rhythm.
        later(&store, HOUR + minute);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        later(&store, HOUR + 2 * minute);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.ticks().await.unwrap(), 1);
        later(&store, 2 * HOUR + Duration::from_secs(5));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        assert_eq!(store.ticks().await.unwrap(), 2);
        store.close().await.unwrap();
    });
}

/// Each process, and each manager in it, has workers for it.
#[test]
fn several_managers_of_one_file_run_a_schedule_once() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let first = Quick::create(directory.config()).await.unwrap();
        let second = Quick::create(directory.config()).await.unwrap();
        while first.ticks().await.unwrap() < 5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(
            dbm_core::rusqlite::Connection::open(directory.path().join("database.db"))
                .unwrap()
                .query_row("SELECT count(*) FROM _dbm_job", (), |row| row
                    .get::<_, i64>(0))
                .unwrap(),
            1
        );
        first.close().await.unwrap();
        second.close().await.unwrap();
    });
}
