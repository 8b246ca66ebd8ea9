//! What the tasks that run the jobs of one manager share: its kinds of jobs, its workers, and how they claim.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::job::JobKind;
use super::statements::{self, Claimed, Texts};
use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::error::Result;
use crate::job_board::{JobBoard, millis};
use crate::manager_core::ManagerCore;
use crate::sync::lock;
use crate::transaction::WriteTransaction;

/// The jobs that a manager lists.
pub(crate) struct Kinds<M> {
    list: Vec<JobKind<M>>,
    core: fn(&M) -> &ManagerCore,
    pub(super) texts: Texts,
}

impl<M> Kinds<M> {
    pub(crate) fn new(list: Vec<JobKind<M>>, core: fn(&M) -> &ManagerCore) -> Self {
        Self {
            texts: Texts::of(list.iter().map(|kind| kind.name)),
            list,
            core,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&JobKind<M>> {
        self.list.iter().find(|kind| kind.name == name)
    }
}

/// What the tasks that run the jobs of one manager share.
pub(super) struct Runner<M> {
    pub(super) kinds: Kinds<M>,
    pub(super) board: Arc<JobBoard>,
    manager: Weak<M>,
    workers: Mutex<Workers>,
    /// There may be a job whose worker's process has ended, perhaps because of that job.
    has_suspect: AtomicBool,
    /// Such a job runs. One at a time: if it ends this process, too, it takes no other such job with it.
    runs_suspect: AtomicBool,
}

struct Workers {
    running: usize,
    limit: usize,
    /// More jobs were due than there were workers.
    missed: bool,
}

/// A claimed job, and what the claim has taken with it. Whoever has it has the job in hand.
pub(super) struct Claim<M> {
    pub(super) job: Claimed,
    runner: Arc<Runner<M>>,
    _suspect: Option<Suspect<M>>,
}

impl<M> Claim<M> {
    fn new(runner: &Arc<Runner<M>>, job: Claimed, suspect: Option<Suspect<M>>) -> Self {
        runner.board.take_in_hand(job.token);
        Self {
            job,
            runner: Arc::clone(runner),
            _suspect: suspect,
        }
    }
}

impl<M> Drop for Claim<M> {
    fn drop(&mut self) {
        self.runner.board.lay_down(self.job.token);
    }
}

/// What a transaction has claimed. It counts once that is committed.
pub(super) struct Turn<M> {
    claim: Option<Claim<M>>,
    /// It has also written that this process lives.
    beats: bool,
}

impl<M> Default for Turn<M> {
    fn default() -> Self {
        Self {
            claim: None,
            beats: false,
        }
    }
}

impl<M> Turn<M> {
    /// Its transaction is committed.
    pub(super) fn kept(self, board: &JobBoard) -> Option<Claim<M>> {
        if self.beats {
            board.set_beaten();
        }
        self.claim
    }
}

/// A suspect runs, or is being claimed.
struct Suspect<M>(Arc<Runner<M>>);

impl<M> Drop for Suspect<M> {
    fn drop(&mut self) {
        self.0.runs_suspect.store(false, Ordering::Relaxed);
    }
}

impl<M: Send + Sync + 'static> Runner<M> {
    pub(super) fn new(
        manager: Weak<M>,
        kinds: Kinds<M>,
        board: Arc<JobBoard>,
        limit: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            kinds,
            board,
            manager,
            workers: Mutex::new(Workers {
                running: 0,
                limit,
                missed: false,
            }),
            has_suspect: AtomicBool::new(true),
            runs_suspect: AtomicBool::new(false),
        })
    }

    pub(super) fn core<'m>(&self, manager: &'m M) -> &'m ManagerCore {
        (self.kinds.core)(manager)
    }

    pub(super) fn manager(&self) -> Option<Arc<M>> {
        self.manager.upgrade()
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        lock(&self.workers)
    }

    /// Another job may be due: if a worker is free, it should look.
    pub(super) fn pass_on(&self) {
        let is_free = {
            let mut workers = self.workers();
            workers.missed = true;
            workers.running < workers.limit
        };
        if is_free {
            self.board.bell.ring();
        }
    }

    /// A place for another worker, if one is free.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place<M>> {
        let mut workers = self.workers();
        workers.missed = workers.running == workers.limit;
        if workers.missed {
            return None;
        }
        workers.running += 1;
        drop(workers);
        Some(Place(Arc::clone(self)))
    }

    /// A job was seen whose worker's process has ended. True if one may run now.
    pub(super) fn saw_suspect(&self) -> bool {
        self.has_suspect.store(true, Ordering::Relaxed);
        !self.runs_suspect.load(Ordering::Relaxed)
    }

    /// Claims the next job that is due. None while the manager closes, or if nobody but its workers has it any more.
    pub(super) async fn claim(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
        manager: &Arc<M>,
    ) -> Result<Turn<M>> {
        let running = self.workers().running;
        if self.core(manager).gate().is_closing() || Arc::strong_count(manager) <= running {
            return Ok(Turn::default());
        }
        self.board.set_claims();
        let claim = self.next(db).await?;
        // Only now that this process has the file's lock is it sure that no other one takes its jobs over meanwhile.
        let beats = self.board.must_beat();
        if beats {
            statements::beat(db, self.board.worker).await?;
        }
        Ok(Turn { claim, beats })
    }

    async fn next(self: &Arc<Self>, db: &mut WriteTransaction) -> Result<Option<Claim<M>>> {
        let (worker, texts) = (self.board.worker, &self.kinds.texts);
        if let Some(suspect) = self.suspect() {
            if let Some(job) = statements::claim_suspect(db, worker, texts).await? {
                return Ok(Some(Claim::new(self, job, Some(suspect))));
            }
            self.has_suspect.store(false, Ordering::Relaxed);
        }
        let job = statements::claim(db, worker, texts, self.board.now()).await?;
        Ok(job.map(|job| Claim::new(self, job, None)))
    }

    /// The right to claim a suspect, if there may be one and none runs.
    fn suspect(self: &Arc<Self>) -> Option<Suspect<M>> {
        let may = self.has_suspect.load(Ordering::Relaxed)
            && !self.runs_suspect.swap(true, Ordering::Relaxed);
        may.then(|| Suspect(Arc::clone(self)))
    }

    /// Enters what schedules lack.
    pub(super) async fn schedule(&self, core: &ManagerCore) -> Result<()> {
        static SITE: Site = Site::new(module_path!(), "schedule jobs");
        let kinds = self.kinds.list.iter();
        let schedules: Vec<_> = kinds
            .filter_map(|kind| Some((kind.name, millis(kind.every?))))
            .collect();
        if schedules.is_empty() {
            return Ok(());
        }
        let now = self.board.now();
        Call::new(&SITE, core)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut db: WriteTransaction| {
                for (kind, every) in &schedules {
                    statements::schedule(&mut db, kind, now, now.saturating_add(*every)).await?;
                }
                Ok(())
            })
            .await
            .fail_with_exception()
    }
}

/// A worker's place among those that may run at the same time.
pub(super) struct Place<M>(pub(super) Arc<Runner<M>>);

impl<M> Drop for Place<M> {
    fn drop(&mut self) {
        let missed = {
            let mut workers = lock(&self.0.workers);
            workers.running -= 1;
            std::mem::take(&mut workers.missed)
        };
        if missed {
            self.0.board.bell.ring();
        }
    }
}
