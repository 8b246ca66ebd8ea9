//! The COMMIT of the open transaction. A call learns that its work is done only after the COMMIT that contains it.

use std::time::Instant;

use super::latency::{CommitLatency, RunOn};
use crate::config::Execution;
use crate::engine::checkpoint::Checkpointer;
use crate::engine::commit_outcome::{FinishedBatch, Followers};
use crate::engine::connection::{Conn, OwnerId};
use crate::engine::db::{CONTROL, Db};
use crate::engine::open::SharedOpener;
use crate::engine::session::Autocommit;
use crate::engine::wal::wal_pages;
use crate::error::{Error, Result};

pub(super) struct Committer {
    opener: SharedOpener,
    pub(super) checkpointer: Checkpointer,
    pub(super) latency: CommitLatency,
}

impl Committer {
    pub(super) fn new(opener: SharedOpener, checkpointer: Checkpointer) -> Self {
        Self {
            opener,
            checkpointer,
            latency: CommitLatency::default(),
        }
    }

    /// Where the next commit should run.
    pub(super) fn run_on(&self) -> RunOn {
        match self.opener.config.execution {
            Execution::Inline => RunOn::Task,
            Execution::Offload => RunOn::WorkerThread,
            Execution::Auto => self.latency.run_on(),
        }
    }

    /// Whether a statement may commit by itself, where the task is: that takes no more than a moment, and nothing has to be
    /// done right after it.
    pub(super) fn allows_autocommit(&self) -> bool {
        let is_quick = match self.opener.config.execution {
            // To ask where the next commit runs counts as a commit.
            Execution::Auto => self.latency.is_fast(),
            Execution::Inline | Execution::Offload => self.run_on() == RunOn::Task,
        };
        is_quick && !self.checkpointer.cuts_log()
    }

    /// Notes a commit that a statement has made by itself, unless that has failed. True if the log should be restarted.
    pub(super) fn note_autocommit(&self, committed: Option<&Autocommit>) -> bool {
        let Some(committed) = committed else {
            self.opener.counts.failed_to_commit();
            return false;
        };
        self.opener.counts.committed(1, committed.took);
        self.latency.record(committed.took, RunOn::Task);
        self.checkpointer.after_commit(committed.log_pages)
    }

    /// Commits on behalf of the connection's owner, and ends that ownership. Blocks for as long as the disk takes. True
    /// if the log should be restarted.
    pub(super) fn commit(
        &self,
        conn: &Conn,
        owner: OwnerId,
        followers: Followers,
        run_on: RunOn,
    ) -> (FinishedBatch, bool) {
        let started = Instant::now();
        let mut slot = conn.lock();
        let result = match slot.owned_by(owner) {
            Ok(db) => {
                let result = self.try_commit(db);
                self.checkpointer.lift_limit(db);
                result
            }
            Err(error) => {
                self.opener.counts.failed_to_commit();
                return (FinishedBatch::new(followers, Err(error)), false);
            }
        };
        if result.is_err() && slot.db().is_some_and(|db| !db.roll_back()) {
            slot.discard();
        }
        let took = started.elapsed();
        match &result {
            Ok(()) => self.opener.counts.committed(followers.members, took),
            Err(_) => self.opener.counts.failed_to_commit(),
        }
        slot.take_back();
        drop(slot);
        self.latency.record(took, run_on);
        let restart_log = result.is_ok() && self.checkpointer.after_commit(wal_pages());
        (FinishedBatch::new(followers, result), restart_log)
    }

    fn try_commit(&self, db: &Db) -> Result<()> {
        self.opener.check_identity()?;
        db.control(&CONTROL.commit).map_err(Error::of_commit)
    }
}
