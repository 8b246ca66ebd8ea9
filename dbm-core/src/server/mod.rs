//! A database on a server, as the rest of the crate uses it: the counterpart of `engine`.

mod session;

use std::future::poll_fn;
use std::pin::pin;
#[cfg(feature = "jobs")]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

pub(crate) use session::ServerSession;

use crate::access::Access;
use crate::after_commit::AfterCommit;
use crate::config::Config;
#[cfg(feature = "jobs")]
use crate::engine::RELEASE;
use crate::error::{Error, Result};
#[cfg(feature = "jobs")]
use crate::job_board::JobBoard;
use crate::live::LiveReads;
use crate::metrics::Metrics;
#[cfg(feature = "jobs")]
use crate::params::Params as _;
#[cfg(feature = "jobs")]
use crate::remote::Promises;
use crate::remote::{Remote, RemoteTransaction};
use crate::sync::lock;
use crate::tables::Tables;

/// What a session has, until it is taken from it.
type Slot = tokio::sync::Mutex<Option<Box<dyn RemoteTransaction>>>;

/// The server of one running manager.
pub(crate) struct Server {
    pub(crate) remote: Arc<dyn Remote>,
    /// The host and the database.
    pub(crate) name: Box<str>,
    pub(crate) system: &'static str,
    acquire_timeout: Duration,
    pub(crate) after_commit: AfterCommit,
    live: Arc<LiveReads>,
    /// Asks the task that closes the connections to look for the commits of other processes.
    wants_look: Notify,
    mark: Mutex<Option<String>>,
    /// True once `close_within` ends the calls.
    shut: watch::Sender<bool>,
    /// What calls use at the moment.
    open: Mutex<Vec<Weak<Slot>>>,
    /// Set at start-up, for a manager that lists jobs.
    #[cfg(feature = "jobs")]
    pub(crate) jobs: OnceLock<Arc<JobBoard>>,
    /// Tells the task that closes the connections.
    closing: Mutex<Option<oneshot::Sender<()>>>,
}

/// What the library cannot offer on a server.
pub(crate) fn refused(what: &'static str) -> Error {
    Error::Refused {
        what,
        why: "it needs a file of SQLite, and the database is on a server",
    }
}

impl Server {
    /// The receiver is told when the connections are to be closed.
    pub(crate) fn new(
        remote: Arc<dyn Remote>,
        config: &Config,
        live: Arc<LiveReads>,
    ) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (closing, told) = oneshot::channel();
        let server = Self {
            remote,
            name: config.name().into(),
            system: config.system(),
            acquire_timeout: config.acquire_timeout,
            after_commit: AfterCommit::default(),
            live,
            wants_look: Notify::new(),
            mark: Mutex::default(),
            shut: watch::Sender::new(false),
            open: Mutex::default(),
            #[cfg(feature = "jobs")]
            jobs: OnceLock::new(),
            closing: Mutex::new(Some(closing)),
        };
        (Arc::new(server), told)
    }

    pub(crate) async fn begin(
        self: &Arc<Self>,
        access: Access,
        method: &'static str,
    ) -> Result<ServerSession> {
        let begin = self.remote.begin(access, method);
        let transaction = self.unless_shut(method, begin).await?;
        let session = ServerSession::new(Arc::clone(self), access, method, transaction);
        {
            let mut open = lock(&self.open);
            open.retain(|slot| slot.strong_count() > 0);
            open.push(session.slot());
        }
        // If that was after `shut` took the list, nobody else ends the session.
        session.check()?;
        Ok(session)
    }

    /// Waits for what a call needs. Once the calls are ended, it is dropped.
    async fn unless_shut<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut shut = self.shut.subscribe();
        let (mut work, mut shut) = (pin!(work), pin!(shut.wait_for(|is_shut| *is_shut)));
        poll_fn(|context| match shut.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(Err(Error::Closed { method })),
            Poll::Pending => work.as_mut().poll(context),
        })
        .await
    }

    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    fn is_shut(&self) -> bool {
        *self.shut.borrow()
    }

    /// Ends every call that is running or waiting. A transaction whose statement runs ends with that statement.
    pub(crate) fn shut(&self) {
        self.shut.send_replace(true);
        let open = std::mem::take(&mut *lock(&self.open));
        for slot in open.iter().filter_map(Weak::upgrade) {
            let transaction = slot.try_lock().ok().and_then(|mut slot| slot.take());
            drop(transaction);
        }
        self.after_commit.shut();
    }

    /// A transaction is durable.
    pub(crate) fn tell_live_reads(&self) {
        // Which tables a statement touches is known to the server alone.
        if self.live.note_commit(|| Tables::All) {
            self.live.tell();
        }
    }

    /// For a live read that looks for the commits of other processes.
    pub(crate) fn want_look(&self) {
        self.wants_look.notify_one();
    }

    /// Looks for them whenever that is wanted.
    pub(crate) async fn look_for_commits(&self) {
        loop {
            self.wants_look.notified().await;
            // A server that does not answer is told of by the reads themselves.
            if let Ok(mark) = self.remote.mark().await {
                let older = lock(&self.mark).replace(mark.clone());
                if older != Some(mark) {
                    self.tell_live_reads();
                }
            }
        }
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics {
            #[cfg(feature = "jobs")]
            jobs: self
                .jobs
                .get()
                .map(|board| board.runs())
                .unwrap_or_default(),
            ..Metrics::default()
        }
    }

    /// Closes all connections. Jobs that were ended by `close_within` are given back before: the next start runs them at once.
    pub(crate) async fn close(&self) -> Result<()> {
        #[cfg(feature = "jobs")]
        if let Some(board) = self.jobs.get().filter(|board| board.has_claims()) {
            // Otherwise they wait until this process counts as ended.
            let _ = self.release_jobs(board).await;
        }
        self.remote.close().await
    }

    #[cfg(feature = "jobs")]
    async fn release_jobs(&self, board: &JobBoard) -> Result<()> {
        let mut transaction = self.remote.begin(Access::Write, "close").await?;
        for sql in RELEASE {
            let worker = (board.worker,).into_params()?;
            transaction.run(sql, &worker).await?;
        }
        transaction.commit(Promises::new(|| ())).await
    }

    /// Has the connections closed. False if nobody does it any more: the runtime is gone, and the connections with it.
    pub(crate) fn begin_closing(&self) -> bool {
        let closing = lock(&self.closing).take();
        closing.is_none_or(|closing| closing.send(()).is_ok())
    }
}
