//! Start-up, in the background: prepare, create or migrate, run.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use tokio::runtime::Handle;
use tracing::{error, info};

use super::close::finish;
use super::drift::{DELAY, Drift, Model};
#[cfg(feature = "jobs")]
use super::in_transaction;
use super::prepare::{Step, prepare};
#[cfg(feature = "remote")]
use super::server;
use super::{create::create, migrate::migrate, not_from_inside, reached, tell, unless_given_up};
#[cfg(feature = "jobs")]
use crate::call::{
    lease::{FileLease, Lease},
    site::Site,
};
use crate::config::Config;
use crate::database::Database;
use crate::engine::{Engine, Opener};
use crate::error::{Error, Result};
use crate::gate::{CallToken, Gate};
#[cfg(feature = "jobs")]
use crate::jobs::{self, Kinds};
use crate::manager_core::ManagerCore;
use crate::schema::Schema;
use crate::status::Status;
use crate::timer::sleep;
use crate::value::bounded;
use crate::version::{self, Version};

/// How often start-up tries again after another process has changed the file meanwhile.
const ATTEMPTS: usize = 10;

/// A manager that is built but not started.
#[allow(missing_debug_implementations)]
pub struct Start<M> {
    manager: Arc<M>,
    required: Result<Version>,
    config: Config,
    gate: Arc<Gate>,
    drift: Drift<M>,
    #[cfg(feature = "jobs")]
    jobs: Option<Kinds<M>>,
}

impl<M> Start<M> {
    /// `newest` is the version that `init_db` makes.
    pub(crate) fn new(
        config: Config,
        newest: Version,
        build: impl FnOnce(ManagerCore) -> M,
    ) -> Self {
        let core = ManagerCore::of(&config, finish);
        let gate = Arc::clone(core.gate());
        let manager = Arc::new(build(core));
        let required = config.version.clone().unwrap_or_else(|| newest.clone());
        let same = Model::Same(Arc::downgrade(&manager), Arc::downgrade(&gate));
        Self {
            drift: Drift::new(same, newest, &config),
            manager,
            required: version::to_row(&required).map(|_| required),
            config,
            gate,
            #[cfg(feature = "jobs")]
            jobs: None,
        }
    }

    /// Has the manager run these jobs.
    #[cfg(feature = "jobs")]
    pub(crate) fn with_jobs(mut self, kinds: Kinds<M>) -> Self {
        self.jobs = Some(kinds);
        self.drift.jobs = true;
        self
    }

    /// For a manager that can be built any number of times.
    pub(crate) fn from_core(config: Config, newest: Version, make: fn(ManagerCore) -> M) -> Self {
        let drift = Drift::new(Model::Another(make), newest.clone(), &config);
        Self {
            drift,
            ..Self::new(config, newest, make)
        }
    }
}

impl<M: Schema + Send + Sync + 'static> Start<M> {
    /// Starts in a task of its own. With `here`, the part that needs no waiting runs at once: a database that is at rest
    /// is then open.
    pub(crate) fn begin(self, here: bool) -> Arc<M> {
        let Self {
            manager,
            required,
            config,
            gate,
            drift,
            #[cfg(feature = "jobs")]
            jobs,
        } = self;
        #[cfg(feature = "jobs")]
        let runner = jobs.map(|kinds| (kinds, Arc::downgrade(&manager), config.job_workers));
        let drift = Arc::new(drift);
        if let Some(expected) = drift.expected_schema() {
            gate.set_expected_schema(expected);
        }
        let starting = Starting {
            path: config.path_as_given(),
            token: gate.enter("start").ok().map(CallToken::into_owned),
            gate,
        };
        match runtime() {
            Ok(runtime) => {
                let manager = Arc::clone(&manager);
                let for_tasks = runtime.clone();
                let mut start = Box::pin(async move {
                    let started =
                        start_up(&*manager, required, config, &starting.gate, &drift).await;
                    drop(manager);
                    let was_there = matches!(&started, Ok((_, Step::Nothing | Step::Migrate)));
                    if let Some(check) = drift.into_check(&starting.gate).filter(|_| was_there) {
                        let taken = TakeCheck {
                            gate: Arc::downgrade(&starting.gate),
                            runtime: for_tasks.clone(),
                        };
                        let wait = sleep(DELAY).and_wake(&Arc::new(taken).into());
                        starting.gate.set_check(check, wait);
                    }
                    #[cfg(feature = "jobs")]
                    let for_runner = starting.gate.watch();
                    #[cfg(feature = "jobs")]
                    let board = started
                        .as_ref()
                        .ok()
                        .and_then(|(database, _)| database.jobs().cloned());
                    starting.end(started.map(|(database, _)| database));
                    #[cfg(feature = "jobs")]
                    if let (Some((kinds, manager, workers)), Some(board)) = (runner, board) {
                        for_tasks.spawn(jobs::run(manager, kinds, board, workers, for_runner));
                    }
                });
                let mut nobody = Context::from_waker(Waker::noop());
                let is_over = here && start.as_mut().poll(&mut nobody).is_ready();
                if !is_over {
                    drop(runtime.spawn(start));
                }
            }
            Err(error) => starting.end(Err(error)),
        }
        manager
    }
}

/// Runs the check of a manager that was not closed before this wakes.
struct TakeCheck {
    gate: Weak<Gate>,
    runtime: Handle,
}

impl Wake for TakeCheck {
    fn wake(self: Arc<Self>) {
        // All of it in the task: it may be the last to have the gate, and so to close the file.
        let gate = Weak::clone(&self.gate);
        let check = async move {
            let check = gate.upgrade().and_then(|gate| gate.take_check());
            if let Some(check) = check {
                check(None).await;
            }
        };
        drop(self.runtime.spawn(check));
    }
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|_| Error::Runtime {
        message: "start was called outside of a runtime",
    })
}

async fn start_up<M: Schema + Send + Sync + 'static>(
    manager: &M,
    required: Result<Version>,
    config: Config,
    gate: &Arc<Gate>,
    drift: &Drift<M>,
) -> Result<(Database, Step)> {
    let required = required?;
    #[cfg(feature = "remote")]
    if let Some(backend) = config.backend() {
        return server::start_up(manager, &required, &config, &**backend, gate, drift).await;
    }
    let (path, temporary) = config.resolve()?;
    let opener = Opener::of_manager(gate.id, path, config, Arc::clone(&gate.live));
    let engine = Engine::new(opener, temporary);
    drift.set_jobs(&engine);
    let admits: Weak<Gate> = Arc::downgrade(gate);
    engine.after_commit.run_for(gate.id, admits);
    let unfinished = Unfinished(Some(Arc::clone(&engine)));
    let started = Instant::now();
    let start = async {
        let make_ready = pin!(make_ready(manager, gate, &engine, &required, drift));
        // Dropped before `make_ready`, whose drop takes a connection back and waits for the library's own work on it. This
        // ends that work.
        let mut ending = GiveUpOnDrop(Some(&engine.opener));
        let ready = make_ready.await;
        ending.0 = None;
        ready
    };
    let ready = unless_given_up(gate, start).await;
    unfinished.finish();
    match ready {
        Ok(step) => {
            engine.rest_when_idle();
            Ok((Database::File(engine), step))
        }
        Err(error) => {
            engine.opener.give_up();
            // A hook may have leaked its statement.
            engine.writer.conn.interrupt_any();
            close(&engine).await;
            let error = error.or_busy(started.elapsed());
            Err(error.at(&engine.opener.path))
        }
    }
}

/// Closes the file if start-up is dropped with its runtime.
struct Unfinished(Option<Arc<Engine>>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.close();
        }
    }
}

/// Ends what a start does when it is given up, or dropped with its runtime.
struct GiveUpOnDrop<'a>(Option<&'a Opener>);

impl Drop for GiveUpOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(opener) = self.0 {
            opener.give_up();
        }
    }
}

async fn make_ready<M: Schema + Send + Sync + 'static>(
    manager: &M,
    gate: &Gate,
    engine: &Arc<Engine>,
    required: &Version,
    drift: &Drift<M>,
) -> Result<Step> {
    let reader = engine.readers.first();
    for _ in 0..ATTEMPTS {
        let step = prepare(engine, &reader, required).await?;
        let done = match step {
            Step::Create => create(manager, gate, engine, required).await?,
            Step::Migrate => migrate(manager, gate, engine, required, drift).await?,
            Step::Nothing => {
                drift.check_before(gate, engine).await?;
                true
            }
        };
        if done {
            #[cfg(feature = "jobs")]
            if step == Step::Nothing {
                job_tables(gate, engine).await?;
            }
            return Ok(step);
        }
    }
    Err(Error::other("the file kept changing during start-up"))
}

/// A file that needs no other step may be without the tables of jobs.
#[cfg(feature = "jobs")]
async fn job_tables(gate: &Gate, engine: &Arc<Engine>) -> Result<()> {
    static LOOK: Site = Site::new(module_path!(), "look for the tables of jobs");
    static MAKE: Site = Site::new(module_path!(), "make the tables of jobs");
    let Some(board) = engine.jobs.get() else {
        return Ok(());
    };
    let lease = FileLease::read(gate, engine, &LOOK, None).await?;
    let are_missing = jobs::are_missing(board, &lease.frame).await;
    Lease::File(lease).keep(&LOOK).await?;
    if are_missing? {
        in_transaction(gate, engine, &MAKE, async |frame| {
            jobs::make_tables(frame).await.map(|()| true)
        })
        .await?;
    }
    Ok(())
}

/// Closing blocks, and a failed start must have closed the file before any caller learns of the failure.
async fn close(engine: &Arc<Engine>) {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let closing = Arc::clone(engine);
    engine.writer.conn.post_or_run(
        move || {
            closing.close();
            drop(sender);
        },
        drop,
    );
    let _ = receiver.await;
}

/// A start-up under way. If it is dropped with its runtime, it has failed.
struct Starting {
    /// For the log, also if start-up never learns the absolute path.
    path: PathBuf,
    token: Option<CallToken<'static>>,
    gate: Arc<Gate>,
}

impl Starting {
    fn end(self, answer: Result<Database>) {
        self.set_answer(answer);
    }

    fn set_answer(&self, answer: Result<Database>) {
        if self.gate.answer().is_some() {
            return;
        }
        tell(|| match &answer {
            Ok(database) => info!(path = %database.label(), "database running"),
            Err(cause) => {
                let path = bounded(self.path.display().to_string());
                error!(path, %cause, "database failed to start");
            }
        });
        let status = if answer.is_ok() {
            Status::Running
        } else {
            Status::Failed
        };
        self.gate.set_answer(answer);
        self.gate.advance(status);
        if self.gate.is_closing() && status == Status::Running {
            self.gate.advance(Status::Stopping);
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.gate.answer().is_none() {
            self.set_answer(Err(Error::Runtime {
                message: "the runtime was shut down during start-up",
            }));
        }
        self.token.take();
    }
}

pub(crate) async fn ensure_ready(gate: &Gate) -> Result<()> {
    not_from_inside(gate, "ensure_ready")?;
    reached(gate, "ensure_ready", |status| status != Status::Starting).await?;
    match gate.answer() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.clone()),
        None => Err(Error::Closed {
            method: "ensure_ready",
        }),
    }
}
