//! A job runs after the commit of its transaction, and only then.

use std::time::Duration;

use dbm_core::Job;
use dbm_core::prelude::*;
use dbm_core::testing::{TestDirectory, run_due_jobs};
use dbm_tests::run;

use super::{HOUR, Store, later};

impl Store {
    #[database_safe]
    async fn enqueue_and_fail(&self, db: &mut WriteTransaction, job: Job<Self>) -> Result<()> {
        db.enqueue(job).await?;
        Err(Error::other("changed its mind"))
    }

    /// The inner call fails, the outer one does not.
    #[database_safe]
    async fn enqueue_around(&self, db: &mut WriteTransaction) -> Result<()> {
        db.enqueue(Self::note_job(1, "outer".into())).await?;
        let inner = Self::note_job(2, "inner".into());
        assert!(self.enqueue_and_fail(inner).await.is_err());
        Ok(())
    }
}

#[test]
fn a_job_runs_after_its_transaction_and_not_if_that_is_rolled_back() {
    run(async {
        let store = Store::open(Config::in_memory()).await.unwrap();
        let no = store.enqueue_and_fail(Store::note_job(0, "no".into()));
        assert!(no.await.is_err());
        store.enqueue_around().await.unwrap();
        store
            .enqueue(Store::insert_job("yes".into()))
            .await
            .unwrap();
        let mut notes = store.written(2).await;
        notes.sort();
        assert_eq!(notes, ["1 outer", "yes"]);
        store.close().await.unwrap();
    });
}

/// One of each is claimed after the other, with its own arguments.
#[test]
fn jobs_run_when_they_are_due_the_first_due_first() {
    run(async {
        let store = Store::by_hand().await;
        for minutes in [3, 1, 2] {
            let job = Store::note_job(minutes, "min".into());
            let wait = Duration::from_secs(60 * minutes);
            store.enqueue_in(job, wait).await.unwrap();
        }
        assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
        later(&store, Duration::from_secs(125));
        assert_eq!(run_due_jobs(&store).await.unwrap(), 2);
        assert_eq!(store.notes().await.unwrap(), ["1 min", "2 min"]);
        later(&store, HOUR);
        assert_eq!(run_due_jobs(&store).await.unwrap(), 1);
        // Nothing is left of jobs that are done.
        assert_eq!(
            store.number("SELECT count(*) FROM _dbm_job").await.unwrap(),
            0
        );
        store.close().await.unwrap();
    });
}

#[test]
fn a_unique_job_waits_or_runs_once() {
    run(async {
        let store = Store::by_hand().await;
        let job = |number| Store::note_once_job(number, "once".into());
        assert!(store.enqueue(job(1)).await.unwrap());
        assert!(!store.enqueue(job(1)).await.unwrap());
        assert!(store.enqueue(job(2)).await.unwrap());
        // The text is not part of the key.
        let other_text = Store::note_once_job(1, "other".into());
        assert!(!store.enqueue(other_text).await.unwrap());
        assert_eq!(run_due_jobs(&store).await.unwrap(), 2);
        assert!(store.enqueue(job(1)).await.unwrap());
        store.close().await.unwrap();
    });
}

#[test]
fn a_job_survives_its_manager() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = directory.config().job_workers(0);
        let store = Store::open(config).await.unwrap();
        store
            .enqueue(Store::note_job(1, "kept".into()))
            .await
            .unwrap();
        store.close().await.unwrap();
        let store = Store::open(directory.config()).await.unwrap();
        assert_eq!(store.written(1).await, ["1 kept"]);
        store.close().await.unwrap();
    });
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(nothing))]
struct Other {
    core: ManagerCore,
}

dbm_tests::schema!(Other);

impl Other {
    #[job]
    async fn nothing(&self) -> Result<()> {
        Ok(())
    }

    #[database_safe]
    async fn enqueue(&self, db: &mut WriteTransaction, job: Job<Store>) -> Result<bool> {
        db.enqueue(job).await
    }
}

#[test]
fn a_job_of_another_manager_is_refused() {
    run(async {
        let other = Other::create(Config::in_memory()).await.unwrap();
        let refused = other.enqueue(Store::note_job(1, "no".into())).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        other.close().await.unwrap();
    });
}

/// Lists a job that its hooks enqueue, from the file's first version on or later.
mod hooks {
    use super::*;

    #[derive(DbManager)]
    #[db_manager(version = "1.1.0", jobs(greet))]
    pub(super) struct Hooked {
        core: ManagerCore,
    }

    impl Schema for Hooked {
        async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
            db.execute_batch("CREATE TABLE greeting (text TEXT NOT NULL) STRICT")
                .await?;
            db.enqueue(Self::greet_job("new".into())).await.map(drop)
        }

        async fn migrate_db(
            &self,
            db: &mut WriteTransaction,
            _: &Version,
            _: &Version,
        ) -> Result<bool> {
            db.enqueue(Self::greet_job("migrated".into())).await?;
            Ok(true)
        }
    }

    impl Hooked {
        #[job]
        #[database_safe]
        async fn greet(&self, db: &mut WriteTransaction, text: String) -> Result<()> {
            let sql = "INSERT INTO greeting VALUES (?1)";
            db.execute(sql, (text,)).await.map(drop)
        }

        #[database_safe]
        pub(super) async fn greetings(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
            db.query("SELECT text FROM greeting ORDER BY rowid", ())
                .await
        }
    }

    /// The same database without jobs: as an older release of the program made it.
    #[derive(DbManager)]
    #[db_manager(version = "1.1.0")]
    pub(super) struct Before {
        core: ManagerCore,
    }

    impl Schema for Before {
        async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
            db.execute_batch("CREATE TABLE greeting (text TEXT NOT NULL) STRICT")
                .await
        }
    }
}

#[test]
fn the_hooks_of_start_up_can_enqueue() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = || directory.config().job_workers(0);
        let store = hooks::Hooked::create(config().version(Version::new(1, 0, 0)));
        store.await.unwrap().close().await.unwrap();
        let store = hooks::Hooked::create(config()).await.unwrap();
        assert_eq!(run_due_jobs(&store).await.unwrap(), 2);
        assert_eq!(store.greetings().await.unwrap(), ["new", "migrated"]);
        store.close().await.unwrap();
    });
}

/// With the strictest check for drift, both ways: the tables of jobs are none.
#[test]
fn a_file_that_was_made_without_jobs_gets_their_tables_and_has_not_drifted() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let config = || {
            directory
                .config()
                .schema_drift(dbm_core::SchemaDrift::Error)
        };
        let before = hooks::Before::create(config()).await.unwrap();
        before.close().await.unwrap();
        for _ in 0..2 {
            let store = hooks::Hooked::create(config()).await.unwrap();
            assert_eq!(run_due_jobs(&store).await.unwrap(), 0);
            let schema = dbm_core::testing::schema(&store).await.unwrap();
            assert!(!schema.to_string().contains("_dbm"), "{schema}");
            store.close().await.unwrap();
        }
        let before = hooks::Before::create(config()).await.unwrap();
        before.close().await.unwrap();
    });
}

/// A task of the manager's runtime is woken.
#[test]
fn a_job_can_be_enqueued_outside_of_any_runtime() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    run(async {
        let store = Store::open(Config::in_memory()).await.unwrap();
        let elsewhere = std::sync::Arc::clone(&store);
        let enqueued = std::thread::spawn(move || {
            let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
            let mut context = std::task::Context::from_waker(&waker);
            let mut enqueue = std::pin::pin!(elsewhere.enqueue(Store::note_job(1, "x".into())));
            loop {
                match enqueue.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(result) => return result,
                    std::task::Poll::Pending => std::thread::park(),
                }
            }
        });
        assert!(enqueued.join().unwrap().unwrap());
        assert_eq!(store.written(1).await, ["1 x"]);
        store.close().await.unwrap();
    });
}
