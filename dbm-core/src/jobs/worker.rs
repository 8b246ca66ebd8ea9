//! A worker: runs one job after another until none is due.
//!
//! The end of a job and the claim of the next one are one transaction, so that a durable job costs one commit.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::job::{JobFailure, JobKind};
use super::runner::{Claim, Place, Runner, Turn};
use super::statements::{self, Claimed, Ending};
use super::tell;
use crate::after_commit::as_part_of;
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::error::{Error, Result};
use crate::job_board::{JobBoard, millis, random};
use crate::limited::limited;
use crate::manager_core::ManagerCore;
use crate::panicked::{caught, panicked};
use crate::status::Status;
use crate::timer::sleep;
use crate::transaction::WriteTransaction;
use crate::value::bounded;

/// The wait after a failure doubles up to this, unless the first one is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3_600);
/// After a failure of the database itself.
const SOON: Duration = Duration::from_secs(1);

/// What a worker is called where a call's method is named.
const METHOD: &str = "a job";

const ENDED: &str = "the process ended while the job ran, in its last attempt";

/// A task of its own.
pub(super) async fn work<M: Send + Sync + 'static>(place: Place<M>) {
    let runner = &place.0;
    let Some(manager) = runner.manager() else {
        return;
    };
    let gate = runner.core(&manager).gate();
    // It counts as a call, and passes the gate for the calls of its jobs.
    let Ok(token) = gate.enter(METHOD) else {
        return;
    };
    let token = token.into_owned();
    as_part_of(gate.id, METHOD, work_for(runner, &manager)).await;
    drop(token);
    // Before the manager, so that no other worker believes that only workers have it.
    drop(place);
    drop(manager);
}

async fn work_for<M: Send + Sync + 'static>(runner: &Arc<Runner<M>>, manager: &Arc<M>) {
    let mut next = match first(runner, manager).await {
        Ok(next) => next,
        Err(error) => return tell::not_read(&error),
    };
    while let Some(claim) = next {
        next = run(runner, manager, claim).await;
    }
}

/// Claims the first job of a worker.
pub(super) async fn first<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
) -> Result<Option<Claim<M>>> {
    static SITE: Site = Site::new(module_path!(), "claim a job");
    let claimed = Call::new(&SITE, runner.core(manager))
        .on::<WriteTransaction>()
        .returning::<Result<Turn<M>>>()
        .run(async |mut db: WriteTransaction| runner.claim(&mut db, manager).await)
        .await
        .fail_with_exception()?;
    Ok(claimed.kept(&runner.board))
}

/// Runs a claimed job, writes how it has ended, and returns the next one.
pub(super) async fn run<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
    claim: Claim<M>,
) -> Option<Claim<M>> {
    let job = &claim.job;
    let kind = runner.kinds.get(&job.kind)?;
    if runner.core(manager).gate().is_closing() {
        return end(runner, manager, kind, job, &uncounted(job, job.due)).await;
    }
    runner.pass_on();
    if job.attempts > kind.attempts {
        let failure = JobFailure::Failed(Error::other(ENDED));
        // This claim runs nothing, so it is no attempt.
        let job = &Claimed {
            attempts: kind.attempts,
            ..job.clone()
        };
        return fail(runner, manager, kind, job, failure).await;
    }
    let failure = if kind.in_transaction {
        match in_transaction(runner, manager, kind, job).await {
            Ok(next) => return next,
            Err(failure) => failure,
        }
    } else {
        match alone(runner, manager, kind, job).await {
            Ok(()) => {
                let ending = success(kind, job, runner.board.now());
                return end(runner, manager, kind, job, &ending).await;
            }
            Err(failure) => failure,
        }
    };
    fail(runner, manager, kind, job, failure).await
}

/// A method that is a write transaction: its job ends in that transaction, so it takes effect exactly once.
async fn in_transaction<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
    kind: &JobKind<M>,
    job: &Claimed,
) -> Result<Option<Claim<M>>, JobFailure> {
    let core = runner.core(manager);
    let ending = success(kind, job, runner.board.now());
    let begun = AtomicBool::new(false);
    let call = Call::new(kind.site, core)
        .on::<WriteTransaction>()
        .returning::<Result<Turn<M>, JobFailure>>()
        .run(async |mut db: WriteTransaction| {
            begun.store(true, Ordering::Relaxed);
            if !job.end(&mut db, &ending).await? {
                return Err(JobFailure::TakenOver);
            }
            (kind.run)(manager, &job.arguments).await?;
            // What prevents a claim does not undo the job.
            Ok(runner.claim(&mut db, manager).await.unwrap_or_default())
        });
    match unless_stopped(core, call).await?.fail_with_exception() {
        Ok(turn) => {
            runner.board.count_done();
            Ok(turn.kept(&runner.board))
        }
        Err(JobFailure::Failed(error)) if !begun.load(Ordering::Relaxed) => {
            Err(JobFailure::NotBegun(error))
        }
        Err(failure) => Err(failure),
    }
}

/// Any other method: its job is ended afterwards, so it may run again if that fails.
async fn alone<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
    kind: &JobKind<M>,
    job: &Claimed,
) -> Result<(), JobFailure> {
    let core = runner.core(manager);
    let limit = kind.site.timeout.unwrap_or(Duration::MAX);
    let body = async {
        let ended = caught((kind.run)(manager, &job.arguments)).await;
        ended.unwrap_or_else(|panic| Err(panicked(kind.name, &*panic).into()))
    };
    let body = limited(limit, body);
    let mut signs = pin!(live(&runner.board, core));
    let mut body = pin!(body);
    let ended = unless_stopped(
        core,
        poll_fn(|context| {
            let _ = signs.as_mut().poll(context);
            body.as_mut().poll(context)
        }),
    );
    ended.await?.unwrap_or_else(|| {
        Err(JobFailure::Failed(Error::Timeout {
            method: kind.name,
            limit,
        }))
    })
}

/// Writes again and again that this process lives.
async fn live(board: &JobBoard, core: &ManagerCore) {
    static SITE: Site = Site::new(module_path!(), "keep jobs");
    loop {
        sleep(SOON).await;
        if !board.must_beat() {
            continue;
        }
        let beaten = Call::new(&SITE, core)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut db: WriteTransaction| statements::beat(&mut db, board.worker).await)
            .await
            .fail_with_exception();
        if beaten.is_ok() {
            board.set_beaten();
        }
    }
}

/// Drops the work of a job if `close_within` has ended everything.
async fn unless_stopped<T>(
    core: &ManagerCore,
    work: impl Future<Output = T>,
) -> Result<T, JobFailure> {
    let mut status = core.gate().watch();
    let mut stopped = pin!(status.wait_for(|status| *status == Status::Stopped));
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        let closed = || JobFailure::Failed(Error::Closed { method: METHOD });
        stopped.as_mut().poll(context).map(|_| Err(closed()))
    })
    .await
}

/// Writes how a run has failed, and claims the next job.
async fn fail<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
    kind: &JobKind<M>,
    job: &Claimed,
    failure: JobFailure,
) -> Option<Claim<M>> {
    let now = runner.board.now();
    let dead = |cause: String| Ending::Dead { died: now, cause };
    let ending = match failure {
        JobFailure::TakenOver => {
            tell::taken_over(kind.name, true);
            return None;
        }
        JobFailure::Arguments(cause) => {
            let cause = bounded(cause);
            tell::buried(kind.name, job.attempts, &cause);
            dead(cause)
        }
        failure if failure.is_of_the_database() => {
            tell::interrupted(kind.name, &failure.cause());
            uncounted(job, now.saturating_add(millis(varied(SOON))))
        }
        failure if job.attempts < kind.attempts => {
            let (cause, wait) = (failure.cause(), backoff(kind.backoff, job.attempts));
            tell::retried(kind.name, job.attempts, &cause, wait);
            Ending::Again {
                due: now.saturating_add(millis(wait)),
                attempts: job.attempts,
                cause: Some(cause),
            }
        }
        failure => {
            let cause = failure.cause();
            match kind.every.filter(|_| job.is_schedule) {
                Some(every) => {
                    tell::schedule_failed(kind.name, job.attempts, &cause);
                    Ending::Next {
                        due: next_time(job.due, millis(every), now),
                        cause: Some(cause),
                    }
                }
                None => {
                    tell::buried(kind.name, job.attempts, &cause);
                    dead(cause)
                }
            }
        }
    };
    end(runner, manager, kind, job, &ending).await
}

/// Writes how a run has ended, and claims the next job. Tries until it is written or the manager is closed.
async fn end<M: Send + Sync + 'static>(
    runner: &Arc<Runner<M>>,
    manager: &Arc<M>,
    kind: &JobKind<M>,
    job: &Claimed,
    ending: &Ending,
) -> Option<Claim<M>> {
    static SITE: Site = Site::new(module_path!(), "end a job");
    loop {
        let ended = Call::new(&SITE, runner.core(manager))
            .on::<WriteTransaction>()
            .returning::<Result<(bool, Turn<M>)>>()
            .run(async |mut db: WriteTransaction| {
                let is_mine = job.end(&mut db, ending).await?;
                let turn = runner.claim(&mut db, manager).await.unwrap_or_default();
                Ok((is_mine, turn))
            })
            .await
            .fail_with_exception();
        match ended {
            Ok((is_mine, turn)) => {
                if is_mine {
                    count(&runner.board, ending);
                } else {
                    tell::taken_over(kind.name, false);
                }
                return turn.kept(&runner.board);
            }
            Err(Error::Closed { .. } | Error::Failed { .. } | Error::FileReplaced { .. }) => {
                return None;
            }
            Err(error) => tell::not_written(kind.name, &error),
        }
        sleep(SOON).await;
    }
}

fn count(board: &JobBoard, ending: &Ending) {
    match ending {
        Ending::Done | Ending::Next { cause: None, .. } => board.count_done(),
        Ending::Again { cause: Some(_), .. } | Ending::Next { cause: Some(_), .. } => {
            board.count_failed();
        }
        Ending::Again { cause: None, .. } => {}
        Ending::Dead { .. } => board.count_dead(),
    }
}

fn success<M>(kind: &JobKind<M>, job: &Claimed, now: i64) -> Ending {
    match kind.every.filter(|_| job.is_schedule) {
        Some(every) => Ending::Next {
            due: next_time(job.due, millis(every), now),
            cause: None,
        },
        None => Ending::Done,
    }
}

/// As if the job had not been claimed.
fn uncounted(job: &Claimed, due: i64) -> Ending {
    Ending::Again {
        due,
        attempts: job.attempts - 1,
        cause: None,
    }
}

/// The next time after `now` that is whole periods after `due`: missed runs are not made up for.
fn next_time(due: i64, every: i64, now: i64) -> i64 {
    let late = now.saturating_sub(due).max(0);
    due.saturating_add((late / every).saturating_add(1).saturating_mul(every))
}

/// The wait after a failed attempt, the first of which is 1.
fn backoff(first: Duration, attempt: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let doubled = first.saturating_mul(factor);
    varied(doubled.min(LONGEST_BACKOFF.max(first)))
}

/// Up to a quarter more or less, so that jobs that failed together are not tried together again and again.
fn varied(wait: Duration) -> Duration {
    wait.mul_f64(0.75 + (random() % 1_000) as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_runs_are_not_made_up_for() {
        assert_eq!(next_time(100, 10, 100), 110);
        assert_eq!(next_time(100, 10, 109), 110);
        assert_eq!(next_time(100, 10, 110), 120);
        assert_eq!(next_time(100, 10, 1_234), 1_240);
        // The clock was set back meanwhile.
        assert_eq!(next_time(100, 10, 5), 110);
        assert_eq!(next_time(i64::MAX, 10, 0), i64::MAX);
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_varies_by_a_quarter() {
        let around = |attempt, seconds: f64| {
            let wait = backoff(Duration::from_secs(5), attempt).as_secs_f64();
            assert!((0.75 * seconds..1.25 * seconds).contains(&wait), "{wait}");
        };
        around(1, 5.0);
        around(2, 10.0);
        around(5, 80.0);
        around(30, 3_600.0);
        around(1_000, 3_600.0);
        let long = backoff(Duration::from_secs(36_000), 3).as_secs_f64();
        assert!((27_000.0..45_000.0).contains(&long), "{long}");
    }
}
