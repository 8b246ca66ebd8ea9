//! A manager whose jobs leave a trace of every effect: for tests that kill its process.

use std::sync::Arc;

use dbm_core::prelude::*;

/// Posts numbers. What is written for a number shows how often its jobs took effect.
#[derive(DbManager, Debug)]
#[db_manager(version = "1.0.0", jobs(once, often, poison, every_so_often))]
pub struct Post {
    core: ManagerCore,
}

impl Schema for Post {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE wanted (number INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE once (number INTEGER NOT NULL) STRICT;
             CREATE TABLE often (number INTEGER NOT NULL) STRICT;
             CREATE TABLE tick (id INTEGER PRIMARY KEY) STRICT",
        )
        .await
    }
}

impl Post {
    /// Opens the database of a directory, and waits.
    ///
    /// # Errors
    ///
    /// Why start-up failed.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        Self::create(config).await
    }

    /// Writes a number, and enqueues a job of each kind for it. A negative one is taken back. What is committed is said.
    ///
    /// # Errors
    ///
    /// When it is taken back, and SQLite's.
    #[database_safe]
    pub async fn want(&self, db: &mut WriteTransaction, number: i64) -> Result<()> {
        db.execute("INSERT INTO wanted VALUES (?1)", (number,))
            .await?;
        db.enqueue(Self::once_job(number)).await?;
        db.enqueue(Self::often_job(number)).await?;
        db.after_commit(async move { println!("hook {number}") })?;
        if number < 0 {
            return Err(Error::other("changed its mind"));
        }
        Ok(())
    }

    /// Enqueues a job that ends the process.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn want_poison(&self, db: &mut WriteTransaction) -> Result<()> {
        db.enqueue(Self::poison_job()).await.map(drop)
    }

    #[job(timeout = "10s")]
    #[database_safe]
    async fn once(&self, db: &mut WriteTransaction, number: i64) -> Result<()> {
        let sql = "INSERT INTO once VALUES (?1)";
        db.execute(sql, (number,)).await.map(drop)
    }

    #[job(timeout = "10s")]
    async fn often(&self, number: i64) -> Result<()> {
        self.note(number).await
    }

    #[job(attempts = 3)]
    async fn poison(&self) -> Result<()> {
        println!("poisoned");
        std::process::abort();
    }

    #[job(every = "1s")]
    #[database_safe]
    async fn every_so_often(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO tick DEFAULT VALUES", ())
            .await
            .map(drop)
    }

    #[database_safe]
    async fn note(&self, db: &mut WriteTransaction, number: i64) -> Result<()> {
        let sql = "INSERT INTO often VALUES (?1)";
        db.execute(sql, (number,)).await.map(drop)
    }

    /// How many jobs wait or run, but for the schedule.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn left(&self, db: &mut ReadTransaction) -> Result<i64> {
        let sql =
            "SELECT count(*) FROM _dbm_job WHERE due IS NOT NULL AND kind <> 'every_so_often'";
        db.query_one(sql, ()).await
    }
}
