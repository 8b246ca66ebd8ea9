//! The one task that every manager with jobs has: it looks for due jobs, starts workers, and takes over the jobs of
//! processes that have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use super::runner::{Kinds, Runner};
use super::statements::{self, Sight};
use super::{tell, worker};
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::error::{Error, Result};
use crate::job_board::{JobBoard, millis};
use crate::manager_core::ManagerCore;
use crate::status::Status;
use crate::timer::sleep;
use crate::transaction::{ReadTransaction, WriteTransaction};

/// The longest time between two looks: what other processes enqueue is seen within it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A process whose sign of life has not changed for this long has ended. It writes one every two seconds.
const LEASE: Duration = Duration::from_secs(10);
/// After a longer time without a look, this process itself was stopped, and what it has seen of others is no longer true.
const PAUSED: Duration = Duration::from_secs(3);
/// How often schedules, dead letters and unknown kinds are looked after.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How long dead letters are kept, in milliseconds.
const KEEP_DEAD: i64 = 30 * 24 * 3_600 * 1_000;
/// A difference between the system's clock and the monotonic one that is worth a word, in milliseconds.
const JUMP: i64 = 60_000;

/// Runs the jobs of a manager until that closes or is gone. It keeps neither the manager nor its connections alive.
pub(crate) async fn run<M: Send + Sync + 'static>(
    manager: Weak<M>,
    kinds: Kinds<M>,
    board: Arc<JobBoard>,
    limit: usize,
    mut status: watch::Receiver<Status>,
) {
    let runner = Runner::new(manager, kinds, board, limit);
    let Some(manager) = runner.manager() else {
        return;
    };
    if runner.board.is_later() {
        return tell::later_format(runner.core(&manager).database());
    }
    if limit == 0 {
        return tell::no_workers(runner.core(&manager).database());
    }
    drop(manager);
    let _runtime = RuntimeGuard(status.clone());
    let mut keeper = Keeper::new(Arc::clone(&runner));
    let mut fails = false;
    while *status.borrow() == Status::Running {
        let Some(manager) = runner.manager() else {
            return;
        };
        let pause = match keeper.round(runner.core(&manager)).await {
            Ok(pause) => {
                fails = false;
                pause
            }
            Err(Error::Closed { .. }) => return,
            Err(error) => {
                if !fails {
                    tell::not_read(&error);
                }
                fails = true;
                LOOK_EVERY
            }
        };
        drop(manager);
        let (mut news, mut time) = (pin!(runner.board.bell.heard()), pin!(sleep(pause)));
        let mut ended = pin!(status.wait_for(|status| *status != Status::Running));
        poll_fn(|context| {
            let ready = news.as_mut().poll(context).is_ready()
                || ended.as_mut().poll(context).is_ready()
                || time.as_mut().poll(context).is_ready();
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Tells if the runner is dropped with its runtime, while the manager runs on.
struct RuntimeGuard(watch::Receiver<Status>);

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        if *self.0.borrow() == Status::Running && self.0.has_changed().is_ok() {
            tell::runtime_gone();
        }
    }
}

/// What the runner remembers from one look to the next.
struct Keeper<M> {
    runner: Arc<Runner<M>>,
    /// The last beat of each other process, and since when it has not changed.
    others: BTreeMap<i64, (i64, Instant)>,
    /// The last look, by both clocks.
    looked: Option<(Instant, i64)>,
    tidied: Option<Instant>,
    /// Kinds that nobody here knows, and that were told of.
    unknown: BTreeSet<String>,
}

impl<M: Send + Sync + 'static> Keeper<M> {
    fn new(runner: Arc<Runner<M>>) -> Self {
        Self {
            runner,
            others: BTreeMap::new(),
            looked: None,
            tidied: None,
            unknown: BTreeSet::new(),
        }
    }

    /// Looks once. Returns how long to wait for the next look.
    async fn round(&mut self, core: &ManagerCore) -> Result<Duration> {
        let now = self.runner.board.now();
        self.compare_clocks(now);
        let is_time = |tidied: Instant| tidied.elapsed() >= TIDY_EVERY;
        if self.tidied.is_none_or(is_time) {
            self.tidy(core, now).await?;
            self.tidied = Some(Instant::now());
        }
        let sight = self.look(core).await?;
        if self.is_put_off_too_far(&sight, now) {
            self.runner.schedule(core).await?;
        }
        self.give_back(core, &sight.mine).await?;
        let took_over = self.watch_others(core, &sight.others).await?;
        let suspect_is_due = (took_over || sight.has_suspect) && self.runner.saw_suspect();
        let wait = sight.due.map(|due| due.saturating_sub(now));
        if suspect_is_due || wait.is_some_and(|wait| wait <= 0) {
            self.start_worker();
        }
        let wait = wait.and_then(|wait| u64::try_from(wait).ok());
        let wait = wait.filter(|wait| *wait > 0).map(Duration::from_millis);
        Ok(wait.map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY)))
    }

    async fn look(&self, core: &ManagerCore) -> Result<Sight> {
        static SITE: Site = Site::new(module_path!(), "look for jobs");
        let (worker, texts) = (self.runner.board.worker, &self.runner.kinds.texts);
        Call::new(&SITE, core)
            .on::<ReadTransaction>()
            .returning::<Result<Sight>>()
            .run(async |mut db: ReadTransaction| statements::look(&mut db, worker, texts).await)
            // Once a second it would fill a log with nothing.
            .with_subscriber(Dispatch::none())
            .await
            .fail_with_exception()
    }

    fn start_worker(&self) {
        if let Some(place) = self.runner.place() {
            drop(tokio::spawn(worker::work(place)));
        }
    }

    fn compare_clocks(&mut self, now: i64) {
        if let Some((instant, before)) = self.looked {
            let passed = instant.elapsed();
            let jumped = now.saturating_sub(before).saturating_sub(millis(passed));
            if jumped.abs() >= JUMP {
                tell::clock_jumped(jumped / 1_000);
            }
            if passed >= PAUSED {
                self.others.clear();
            }
        }
        self.looked = Some((Instant::now(), now));
    }

    /// A schedule waits no longer than its period, whatever the clock said when it was put off.
    fn is_put_off_too_far(&self, sight: &Sight, now: i64) -> bool {
        sight.schedules.iter().any(|(kind, due)| {
            let every = self.runner.kinds.get(kind).and_then(|kind| kind.every);
            every.is_some_and(|every| *due > now.saturating_add(millis(every)))
        })
    }

    async fn tidy(&mut self, core: &ManagerCore, now: i64) -> Result<()> {
        static WAITING: Site = Site::new(module_path!(), "look for unknown jobs");
        static DEAD: Site = Site::new(module_path!(), "forget dead jobs");
        self.runner.schedule(core).await?;
        let waiting = Call::new(&WAITING, core)
            .on::<ReadTransaction>()
            .returning::<Result<(Vec<String>, bool)>>()
            .run(async |mut db: ReadTransaction| {
                let dead = statements::has_old_dead(&mut db, now - KEEP_DEAD).await?;
                Ok((statements::waiting_kinds(&mut db).await?, dead))
            })
            .await
            .fail_with_exception()?;
        let (waiting, has_old_dead) = waiting;
        for kind in waiting {
            if self.runner.kinds.get(&kind).is_none() && !self.unknown.contains(&kind) {
                tell::unknown(&kind);
                self.unknown.insert(kind);
            }
        }
        if has_old_dead {
            let forgotten = Call::new(&DEAD, core)
                .on::<WriteTransaction>()
                .returning::<Result<usize>>()
                .run(async |mut db: WriteTransaction| {
                    statements::forget(&mut db, now - KEEP_DEAD).await
                })
                .await
                .fail_with_exception()?;
            tell::forgotten(forgotten);
        }
        Ok(())
    }

    /// Gives back what this process has claimed without knowing it: the outcome of the commit was unknown.
    async fn give_back(&self, core: &ManagerCore, mine: &[(i64, i64)]) -> Result<()> {
        static SITE: Site = Site::new(module_path!(), "give jobs back");
        let board = &self.runner.board;
        let unknown = |&&(_, claim): &&(i64, i64)| !board.has_in_hand(claim);
        let unknown: Vec<(i64, i64)> = mine.iter().filter(unknown).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Call::new(&SITE, core)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut db: WriteTransaction| {
                for (id, claim) in &unknown {
                    statements::give_back(&mut db, *id, *claim).await?;
                }
                Ok(())
            })
            .await
            .fail_with_exception()?;
        board.bell.ring();
        Ok(())
    }

    /// Takes over the jobs of processes that have ended. By the monotonic clock of this process: that of the system may be
    /// set at any time.
    async fn watch_others(&mut self, core: &ManagerCore, seen: &[(i64, i64)]) -> Result<bool> {
        static SITE: Site = Site::new(module_path!(), "take over jobs");
        self.others
            .retain(|worker, _| seen.iter().any(|(seen, _)| seen == worker));
        let mut took_over = false;
        for &(worker, beat) in seen {
            let now = Instant::now();
            let (last, since) = *self.others.entry(worker).or_insert((beat, now));
            if last != beat {
                self.others.insert(worker, (beat, now));
            } else if since.elapsed() >= LEASE {
                let had_jobs = Call::new(&SITE, core)
                    .on::<WriteTransaction>()
                    .returning::<Result<bool>>()
                    .run(async |mut db: WriteTransaction| {
                        statements::take_over(&mut db, worker, beat).await
                    })
                    .await
                    .fail_with_exception()?;
                self.others.remove(&worker);
                if had_jobs {
                    tell::process_ended();
                    took_over = true;
                }
            }
        }
        Ok(took_over)
    }
}

/// Runs every job that is due, one after the other, and returns how many runs there were.
#[cfg(feature = "testing")]
pub(crate) async fn run_due<M: Send + Sync + 'static>(
    manager: &Arc<M>,
    kinds: Kinds<M>,
    board: &Arc<JobBoard>,
) -> Result<usize> {
    let runner = Runner::new(Arc::downgrade(manager), kinds, Arc::clone(board), 0);
    runner.schedule(runner.core(manager)).await?;
    let mut runs = 0;
    while let Some(claim) = worker::first(&runner, manager).await? {
        let mut next = Some(claim);
        while let Some(claim) = next {
            runs += 1;
            next = worker::run(&runner, manager, claim).await;
        }
    }
    Ok(runs)
}
