//! Jobs, with the public names that they need.

use std::time::{Duration, SystemTime};

use dbm_core::prelude::*;
use dbm_core::{DeadJob, Job, JobId, Jobs};

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(greet, tidy))]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.enqueue(Self::greet_job("Ada".to_owned())).await?;
        Ok(())
    }
}

impl Store {
    #[database_safe]
    async fn enqueue(&self, db: &mut WriteTransaction, job: Job<Self>) -> Result<bool> {
        db.enqueue_at(job, SystemTime::now() + Duration::from_secs(60))
            .await
    }

    #[job(attempts = 3, backoff = "5s", timeout = "10s", unique)]
    async fn greet(&self, name: String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if name.is_empty() {
            return Err("nobody".into());
        }
        Ok(())
    }

    #[job(every = "1h")]
    #[database_safe]
    async fn tidy(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("PRAGMA optimize").await
    }
}

#[tokio::test]
async fn jobs_have_what_they_need() -> Result<()> {
    let store = Store::create(Config::in_memory().job_workers(2)).await?;
    assert!(store.enqueue(Store::greet_job("Grace".to_owned())).await?);
    let jobs: Jobs<'_> = store.jobs();
    let dead: Vec<DeadJob> = jobs.dead(10).await?;
    for job in dead {
        let id: JobId = job.id.to_string().parse()?;
        if !jobs.retry(id).await? {
            jobs.discard(id).await?;
        }
    }
    store.close().await
}
