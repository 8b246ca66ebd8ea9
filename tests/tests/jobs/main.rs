//! Jobs: what is promised of them, a file for each kind of promise.

mod basics;
mod cancelled;
mod failures;
mod held;
mod lifecycle;
mod once;
mod schedules;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dbm_core::Job;
use dbm_core::prelude::*;
use dbm_core::testing::set_clock;
use tokio::sync::Semaphore;

const HOUR: Duration = Duration::from_secs(3_600);

/// A manager whose jobs do what a test tells them.
#[derive(DbManager)]
#[db_manager(
    version = "1.0.0",
    jobs(
        note,
        note_once,
        insert,
        fail,
        insert_and_fail,
        wait,
        wait_inside,
        hang,
        panic
    )
)]
struct Store {
    core: ManagerCore,
    /// How many runs fail from now on, and what with.
    failures: AtomicUsize,
    error: Mutex<Error>,
    /// Jobs that run, and jobs that may end.
    running: Semaphore,
    may_end: Semaphore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE note (text TEXT NOT NULL) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Store {
    async fn open(config: Config) -> Result<Arc<Self>> {
        Self::create_with(config, |core| Self {
            core,
            failures: AtomicUsize::new(0),
            error: Mutex::new(Error::other("the receiver is out")),
            running: Semaphore::new(0),
            may_end: Semaphore::new(0),
        })
        .await
    }

    /// A database that goes away, whose jobs are run by the test.
    async fn by_hand() -> Arc<Self> {
        Self::open(Config::in_memory().job_workers(0))
            .await
            .unwrap()
    }

    #[database_safe]
    async fn enqueue(&self, db: &mut WriteTransaction, job: Job<Self>) -> Result<bool> {
        db.enqueue(job).await
    }

    #[database_safe]
    async fn enqueue_in(
        &self,
        db: &mut WriteTransaction,
        job: Job<Self>,
        wait: Duration,
    ) -> Result<bool> {
        db.enqueue_at(job, SystemTime::now() + wait).await
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        let sql = "INSERT INTO note VALUES (?1)";
        db.execute(sql, (text,)).await.map(drop)
    }

    #[database_safe]
    async fn notes(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT text FROM note ORDER BY rowid", ()).await
    }

    /// Looks at, or changes, the rows of jobs.
    #[database_safe]
    async fn sql(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn number(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }

    /// Waits until so many notes are written.
    async fn written(&self, count: usize) -> Vec<String> {
        loop {
            let notes = self.notes().await.unwrap();
            if notes.len() >= count {
                return notes;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn outcome(&self) -> Result<()> {
        let fails = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match fails {
            Ok(_) => Err(self.error.lock().unwrap().clone()),
            Err(_) => Ok(()),
        }
    }

    fn fail_with(&self, times: usize, error: Error) {
        *self.error.lock().unwrap() = error;
        self.failures.store(times, Ordering::Relaxed);
    }

    #[job]
    async fn note(&self, number: u64, text: String) -> Result<()> {
        self.write(&format!("{number} {text}")).await
    }

    #[job(unique(number))]
    async fn note_once(&self, number: u64, text: String) -> Result<()> {
        self.write(&format!("{number} {text}")).await
    }

    #[job(timeout = "20s")]
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, text: String) -> Result<()> {
        let sql = "INSERT INTO note VALUES (?1)";
        db.execute(sql, (text,)).await.map(drop)
    }

    #[job(attempts = 3, backoff = "10s")]
    async fn fail(&self, text: String) -> Result<()> {
        self.write(&text).await?;
        self.outcome()
    }

    #[job(attempts = 3, backoff = "10s")]
    #[database_safe]
    async fn insert_and_fail(&self, db: &mut WriteTransaction, text: String) -> Result<()> {
        let sql = "INSERT INTO note VALUES (?1)";
        db.execute(sql, (text,)).await?;
        self.outcome()
    }

    /// Runs until the test lets it end, or until it is dropped.
    #[job(timeout = "10m")]
    async fn wait(&self) -> Result<()> {
        self.running.add_permits(1);
        self.may_end.acquire().await.unwrap().forget();
        self.write("waited").await
    }

    #[job(timeout = "10m")]
    #[database_safe]
    async fn wait_inside(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO note VALUES ('waited')", ()).await?;
        self.running.add_permits(1);
        self.may_end.acquire().await.unwrap().forget();
        Ok(())
    }

    #[job(attempts = 1, timeout = "50ms")]
    async fn hang(&self) -> Result<()> {
        std::future::pending().await
    }

    #[job(attempts = 1)]
    async fn panic(&self, inside: bool) -> Result<()> {
        if inside {
            self.panic_inside().await?;
        }
        panic!("the job is out of order");
    }

    #[database_safe]
    async fn panic_inside(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO note VALUES ('never')", ()).await?;
        panic!("the call is out of order");
    }
}

/// What is logged while a test runs, by other tests, too.
fn logged_by(test: impl FnOnce()) -> String {
    let before = dbm_tests::logged().len();
    test();
    dbm_tests::logged().split_off(before)
}

/// Moves the clock of jobs to so long after now.
fn later(store: &Arc<impl DbManager>, time: Duration) {
    set_clock(store, SystemTime::now() + time).unwrap();
}
