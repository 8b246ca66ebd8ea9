use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::histogram::Histogram;
use crate::managers::managers;
use crate::report::{Managers, context_switches, cpu_seconds, peak_rss_kib};
use crate::script::{Script, Step};
use crate::{BoxError, Job, Limit, Peer, Report, Result, STATEMENTS, Workload};

/// Runs the job of the command line with spawned tasks on a runtime of as many workers as it asks for.
///
/// # Errors
/// When the arguments are wrong or the peer cannot open or close the database.
pub fn worker<P: Peer + Send + Sync + 'static>() -> Result<()> {
    let job = job()?;
    let tally = match job.limit {
        Limit::Calls(_) => current_thread()?.block_on(on_this_thread::<P>(&job))?,
        Limit::Time(_) if is_single(job.workload) => {
            let job = job.clone();
            let runtime = multi_thread(job.workers)?;
            runtime.block_on(runtime.spawn(async move { single::<P>(&job).await }))??
        }
        Limit::Time(_) => multi_thread(job.workers)?.block_on(spawned::<P>(&job))?,
    };
    print(&job, tally)
}

/// Runs the job of the command line as one loop on the main thread, however many tasks it asks for.
///
/// # Errors
/// When the arguments are wrong or the peer cannot open or close the database.
pub fn worker_on_this_thread<P: Peer>() -> Result<()> {
    let job = job()?;
    let tally = match job.workload {
        workload if is_single(workload) => current_thread()?.block_on(single::<P>(&job))?,
        _ => current_thread()?.block_on(on_this_thread::<P>(&job))?,
    };
    print(&job, tally)
}

/// Whether it is no loop of calls on one open database.
fn is_single(workload: Workload) -> bool {
    use Workload::{DropInserts, DropReads, Managers, Open};
    matches!(workload, DropInserts | DropReads | Managers | Open)
}

async fn single<P: Peer>(job: &Job) -> Result<Tally> {
    match job.workload {
        Workload::Managers => managers::<P>(job).await,
        Workload::DropReads => drops::<P>(job, false).await,
        Workload::DropInserts => drops::<P>(job, true).await,
        _ => opens::<P>(job).await,
    }
}

async fn drops<P: Peer>(job: &Job, write: bool) -> Result<Tally> {
    let peer = P::open(job).await?;
    let mut tally = Tally::new();
    let took = peer.drop_waiting(job.tasks, write).await?;
    tally.note(Step::Nothing, Ok(()), Some(took));
    peer.close().await?;
    Ok(tally)
}

fn job() -> Result<Job> {
    Job::from_args(&std::env::args().skip(1).collect::<Vec<_>>())
}

fn current_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn multi_thread(workers: usize) -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?)
}

async fn spawned<P: Peer + Send + Sync + 'static>(job: &Job) -> Result<Tally> {
    let peer = Arc::new(P::open(job).await?);
    let clock = Clock::start(job.limit);
    let tasks: Vec<_> = (0..job.tasks)
        .map(|task| {
            let (peer, script) = (peer.clone(), Script::new(job, task));
            tokio::spawn(async move { task_loop(&*peer, script, clock).await })
        })
        .collect();
    let mut tally = Tally::new();
    for task in tasks {
        tally.add(task.await?);
    }
    tally.switches = context_switches();
    let peer = Arc::into_inner(peer).ok_or("a task still holds the peer")?;
    peer.close().await?;
    Ok(tally)
}

async fn on_this_thread<P: Peer>(job: &Job) -> Result<Tally> {
    let peer = P::open(job).await?;
    let mut tally = task_loop(&peer, Script::new(job, 0), Clock::start(job.limit)).await;
    tally.switches = context_switches();
    peer.close().await?;
    Ok(tally)
}

/// The closed loop of one task: the next call begins when the last one has ended.
async fn task_loop<P: Peer>(peer: &P, mut script: Script, clock: Clock) -> Tally {
    let mut tally = Tally::new();
    let mut begun = Instant::now();
    for call in 0.. {
        if clock.is_over(begun, call) {
            break;
        }
        let step = script.next();
        let result = take(peer, step).await;
        let ended = Instant::now();
        tally.note(
            step,
            result,
            (begun >= clock.measured_from).then_some(ended - begun),
        );
        begun = ended;
    }
    tally
}

async fn opens<P: Peer>(job: &Job) -> Result<Tally> {
    let (mut tally, mut script) = (Tally::new(), Script::new(job, 0));
    let clock = Clock::start(job.limit);
    for call in 0.. {
        let begun = Instant::now();
        if clock.is_over(begun, call) {
            break;
        }
        let step = script.next();
        let peer = P::open(job).await?;
        let result = take(&peer, step).await;
        let latency = begun.elapsed();
        tally.note(
            step,
            result,
            (begun >= clock.measured_from).then_some(latency),
        );
        peer.close().await?;
    }
    tally.switches = context_switches();
    Ok(tally)
}

pub(crate) async fn take<P: Peer>(peer: &P, step: Step) -> Result<()> {
    match step {
        Step::Read(id) => match peer.read(id).await? {
            (name, score) if name.is_empty() || score != id => {
                Err(format!("row {id} is wrong").into())
            }
            _ => Ok(()),
        },
        Step::Insert => peer.insert("a name of ordinary length", 42).await,
        Step::Increment => peer.increment().await,
        Step::Nothing => peer.nothing().await,
        Step::Rows => match peer.rows().await? {
            0 => Err("no rows".into()),
            _ => Ok(()),
        },
        Step::Body => peer.body(STATEMENTS).await,
    }
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    measured_from: Instant,
    limit: Limit,
}

impl Clock {
    /// Half as long as is measured, but no longer than this, is warm-up: a log that still grows takes longer to sync.
    const WARM_UP: Duration = Duration::from_secs(1);

    fn start(limit: Limit) -> Self {
        let warm_up = match limit {
            Limit::Time(time) => Self::WARM_UP.min(time / 2),
            Limit::Calls(_) => Duration::ZERO,
        };
        Self {
            measured_from: Instant::now() + warm_up,
            limit,
        }
    }

    fn is_over(&self, now: Instant, calls: u64) -> bool {
        match self.limit {
            Limit::Time(time) => now >= self.measured_from + time,
            Limit::Calls(limit) => calls >= limit,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tally {
    latencies: Histogram,
    calls: u64,
    inserted: u64,
    incremented: u64,
    errors: u64,
    busy: u64,
    first_error: Option<String>,
    switches: u64,
    pub(crate) managers: Option<Managers>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latencies: Histogram::new(),
            calls: 0,
            inserted: 0,
            incremented: 0,
            errors: 0,
            busy: 0,
            first_error: None,
            switches: 0,
            managers: None,
        }
    }

    pub(crate) fn note(&mut self, step: Step, result: Result<()>, measured: Option<Duration>) {
        self.calls += 1;
        match result {
            Err(error) => self.note_error(&error),
            Ok(()) => {
                self.inserted += u64::from(matches!(step, Step::Insert));
                self.incremented += u64::from(matches!(step, Step::Increment));
                if let Some(latency) = measured {
                    self.latencies.record(latency);
                }
            }
        }
    }

    #[cold]
    fn note_error(&mut self, error: &BoxError) {
        let text = error.to_string();
        self.errors += 1;
        self.busy += u64::from(text.contains("locked") || text.to_lowercase().contains("busy"));
        self.first_error.get_or_insert(text);
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        self.calls += other.calls;
        self.inserted += other.inserted;
        self.incremented += other.incremented;
        self.errors += other.errors;
        self.busy += other.busy;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

fn print(job: &Job, tally: Tally) -> Result<()> {
    let seconds = match job.limit {
        Limit::Time(time) => time.as_secs_f64(),
        Limit::Calls(_) => f64::INFINITY,
    };
    let calls = tally.latencies.count();
    let report = Report {
        calls,
        calls_per_second: calls as f64 / seconds,
        p50_us: tally.latencies.quantile(0.5),
        p99_us: tally.latencies.quantile(0.99),
        p999_us: tally.latencies.quantile(0.999),
        cpu_us: cpu_seconds() * 1e6 / tally.calls.max(1) as f64,
        peak_rss_kib: peak_rss_kib(),
        switches: Some(tally.switches as f64 / tally.calls.max(1) as f64),
        managers: tally.managers,
        inserted: tally.inserted,
        incremented: tally.incremented,
        errors: tally.errors,
        busy: tally.busy,
        first_error: tally.first_error,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
