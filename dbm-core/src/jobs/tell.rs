//! What is logged about jobs: their kinds, attempts and causes, never an argument.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::error::Error;
use crate::waking::contained;

/// A subscriber that panics must not end the runner.
fn tell(event: impl FnOnce()) {
    contained(event);
}

pub(super) fn retried(kind: &str, attempt: u32, cause: &str, wait: Duration) {
    let wait_ms = wait.as_millis();
    tell(|| {
        warn!(
            job = kind,
            attempt, wait_ms, cause, "job failed, it will be tried again"
        );
    });
}

pub(super) fn interrupted(kind: &str, cause: &str) {
    tell(|| {
        debug!(
            job = kind,
            cause, "job interrupted, its attempt does not count"
        );
    });
}

pub(super) fn buried(kind: &str, attempt: u32, cause: &str) {
    tell(|| error!(job = kind, attempt, cause, "job failed for good"));
}

pub(super) fn schedule_failed(kind: &str, attempt: u32, cause: &str) {
    tell(|| {
        error!(
            job = kind,
            attempt, cause, "scheduled job failed, it runs again at its next time"
        );
    });
}

pub(super) fn taken_over(kind: &str, in_transaction: bool) {
    tell(|| {
        if in_transaction {
            warn!(
                job = kind,
                "another process has taken the job over, this run was undone"
            );
        } else {
            warn!(
                job = kind,
                "another process has taken the job over, it may have run twice"
            );
        }
    });
}

pub(super) fn not_written(kind: &str, cause: &Error) {
    tell(|| warn!(job = kind, %cause, "the end of a job cannot be written yet"));
}

pub(super) fn not_read(cause: &Error) {
    tell(|| warn!(%cause, "the jobs cannot be read, trying again"));
}

pub(super) fn process_ended() {
    tell(|| warn!("a process that ran jobs has ended, its jobs run again"));
}

pub(super) fn unknown(kind: &str) {
    tell(|| {
        warn!(
            job = kind,
            "a job of this kind waits, but this manager lists none; it stays"
        );
    });
}

pub(super) fn clock_jumped(seconds: i64) {
    tell(|| {
        warn!(
            seconds,
            "the system's clock was set, or the machine slept; jobs go by the new time"
        );
    });
}

pub(super) fn later_format(database: &str) {
    tell(|| {
        warn!(
            database,
            "the tables of jobs were made by a later release of dbm; no job is run or enqueued"
        );
    });
}

pub(super) fn no_workers(database: &str) {
    tell(|| {
        info!(
            database,
            "jobs are enqueued, but this process runs none: job_workers is 0"
        );
    });
}

pub(super) fn runtime_gone() {
    tell(|| {
        warn!("the runtime that started the manager is gone; its jobs wait for the next start");
    });
}

pub(super) fn forgotten(jobs: usize) {
    tell(|| debug!(jobs, "dead jobs deleted after 30 days"));
}
