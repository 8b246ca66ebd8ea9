//! `db.enqueue(job)`: a job is a row of the transaction that wants it.

use std::any::TypeId;
use std::sync::Arc;
use std::time::SystemTime;

use super::job::Job;
use super::statements;
use crate::error::{Error, Result};
use crate::job_board::{JobBoard, milliseconds};
use crate::transaction::WriteTransaction;

impl WriteTransaction {
    /// Enqueues a job. It runs after this transaction is committed, on the runtime that started the manager; if the
    /// transaction is rolled back, there is no job. A job survives a crash like any other row.
    ///
    /// Returns whether it was enqueued: false if the job is `unique` and one like it is waiting or running.
    ///
    /// The arguments are stored as JSON, in clear. Whoever can read the file can read them.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # #[derive(DbManager)]
    /// # #[db_manager(version = "1.0.0", jobs(welcome))]
    /// # struct Store { core: ManagerCore }
    /// # impl Schema for Store {
    /// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
    /// #         db.execute_batch("CREATE TABLE user (name TEXT NOT NULL) STRICT").await
    /// #     }
    /// # }
    /// impl Store {
    ///     #[database_safe]
    ///     async fn add_user(&self, db: &mut WriteTransaction, name: String) -> Result<()> {
    ///         db.execute("INSERT INTO user VALUES (?1)", (&name,)).await?;
    ///         db.enqueue(Store::welcome_job(name)).await?;
    ///         Ok(())
    ///     }
    ///
    ///     #[job(attempts = 3)]
    ///     async fn welcome(&self, name: String) -> Result<()> {
    ///         println!("welcome, {name}");
    ///         Ok(())
    ///     }
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// # let store = Store::create(Config::in_memory()).await?;
    /// # store.add_user("Ada".into()).await?;
    /// # store.close().await }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`]: the job is one of another manager, or the tables of jobs were made by a later release;
    /// - [`Error::Parameter`]: an argument cannot be written as JSON;
    /// - as [`execute`](Self::execute).
    ///
    /// # Cancel safety
    ///
    /// That of [`Statement`](crate::Statement).
    pub async fn enqueue<M: 'static>(&mut self, job: Job<M>) -> Result<bool> {
        let board = self.board_of::<M>()?;
        let now = board.now();
        self.put(&board, job, now).await
    }

    /// [`enqueue`](Self::enqueue), not before `time`. A time in the past is now.
    ///
    /// ```
    /// # use dbm_core::prelude::*;
    /// # use std::time::{Duration, SystemTime};
    /// # async fn f<M: 'static>(db: &mut WriteTransaction, remind: dbm_core::Job<M>) -> Result<()> {
    /// db.enqueue_at(remind, SystemTime::now() + Duration::from_secs(3_600)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    ///
    /// That of [`Statement`](crate::Statement).
    pub async fn enqueue_at<M: 'static>(&mut self, job: Job<M>, time: SystemTime) -> Result<bool> {
        let board = self.board_of::<M>()?;
        self.put(&board, job, milliseconds(time)).await
    }

    async fn put<M>(&mut self, board: &Arc<JobBoard>, job: Job<M>, due: i64) -> Result<bool> {
        let key = job.key.transpose()?;
        let is_new =
            statements::insert(self, job.kind, &job.arguments?, key, due, board.now()).await?;
        if is_new {
            let bell = Arc::clone(board);
            self.frame().ring_after_commit(bell);
        }
        Ok(is_new)
    }

    fn board_of<M: 'static>(&self) -> Result<Arc<JobBoard>> {
        let board = self.frame().jobs()?;
        let board = board.filter(|board| board.is_of(TypeId::of::<M>()));
        let Some(board) = board else {
            return Err(Error::Refused {
                what: "a job of another manager",
                why: "enqueue it in a call of its own manager",
            });
        };
        check_format(board)?;
        Ok(Arc::clone(board))
    }
}

pub(super) fn check_format(board: &JobBoard) -> Result<()> {
    if board.is_later() {
        return Err(Error::Refused {
            what: "a job",
            why: "the file's tables of jobs were made by a later release of dbm; update this program",
        });
    }
    Ok(())
}
