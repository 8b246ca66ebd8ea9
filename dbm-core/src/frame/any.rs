//! A frame of either kind: what a handle and the task have. Here it is decided, once for each use, which one it is.

use std::pin::Pin;
use std::sync::Arc;

use super::{Frame, Started, StatementPermit, StreamPermit};
#[cfg(feature = "jobs")]
use crate::after_commit::Rings;
use crate::engine::{Active, RowChannel, Work};
use crate::error::Result;
#[cfg(feature = "jobs")]
use crate::job_board::JobBoard;
use crate::params::{BoundParams, Params};
use crate::row::FromRow;
#[cfg(feature = "remote")]
use crate::server::ServerSession;

pub(crate) type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

tokio::task_local! {
    static CURRENT: AnyFrame;
}

/// The frame of a call on SQLite's file, or on a server.
#[derive(Clone)]
pub(crate) enum AnyFrame {
    File(Arc<Frame>),
    #[cfg(feature = "remote")]
    Server(Arc<Frame<ServerSession>>),
}

/// The same for a frame of either kind.
macro_rules! either {
    ($any:expr, $frame:ident => $same:expr) => {
        match $any {
            AnyFrame::File($frame) => $same,
            #[cfg(feature = "remote")]
            AnyFrame::Server($frame) => $same,
        }
    };
}

impl From<Arc<Frame>> for AnyFrame {
    fn from(frame: Arc<Frame>) -> Self {
        Self::File(frame)
    }
}

impl AnyFrame {
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// The innermost call of this manager that the current task is in.
    pub(crate) fn of_manager(manager: u64) -> Option<Self> {
        let mut frame = Self::current()?;
        while either!(&frame, frame => frame.manager) != manager {
            frame = either!(&frame, frame => frame.around.clone()?);
        }
        Some(frame)
    }

    /// Runs a body in which calls find this frame.
    pub(crate) fn scope<F: Future>(self, body: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self, body)
    }

    /// The kind of database, as OpenTelemetry spells it.
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Self::File(_) => "sqlite",
            #[cfg(feature = "remote")]
            Self::Server(frame) => frame.session().server.system,
        }
    }

    pub(crate) fn method(&self) -> &'static str {
        either!(self, frame => frame.method)
    }

    pub(crate) fn is_during_init(&self) -> bool {
        either!(self, frame => frame.during_init)
    }

    /// Present for a manager that lists jobs.
    #[cfg(feature = "jobs")]
    pub(crate) fn jobs(&self) -> Result<Option<&Arc<JobBoard>>> {
        Ok(either!(self, frame => frame.engine()?.jobs.get()))
    }

    /// Runs a statement here and now, if it may run here and need not wait for anything.
    #[inline]
    pub(crate) fn try_statement<T>(&self, work: &mut Work<'_, T>) -> Started<'_, T> {
        match self {
            Self::File(frame) => frame.try_statement(work),
            #[cfg(feature = "remote")]
            Self::Server(_) => Started::NotYet,
        }
    }

    /// Runs a statement that has to wait. If it has a `permit`, it is decided that it runs on the worker thread.
    pub(crate) fn statement<'a, T: Send + 'static>(
        &'a self,
        work: Work<'a, T>,
        permit: Option<StatementPermit<'a>>,
    ) -> Waiting<'a, T> {
        match self {
            Self::File(frame) => Box::pin(frame.statement(work, permit)),
            #[cfg(feature = "remote")]
            Self::Server(frame) => Box::pin(frame.statement(work)),
        }
    }

    /// Runs a statement for each row. If one fails, nothing of any row is left.
    pub(crate) async fn execute_many<P: Params>(
        &self,
        sql: &str,
        rows: impl Iterator<Item = P> + Send,
    ) -> Result<usize> {
        either!(self, frame => frame.execute_many(sql, rows).await)
    }

    /// Produces the rows of a statement.
    pub(crate) fn stream<'a, T: FromRow>(
        &'a self,
        sql: &'a str,
        params: BoundParams,
        channel: Arc<RowChannel<T>>,
    ) -> Waiting<'a, StreamPermit<'a>> {
        either!(self, frame => Box::pin(frame.stream(sql, params, channel)))
    }

    /// The body takes rows of a stream.
    pub(crate) fn takes_rows(&self) {
        match self {
            Self::File(frame) => frame.session().takes_rows(),
            #[cfg(feature = "remote")]
            Self::Server(_) => {}
        }
    }

    /// Rings after the commit of the transaction.
    #[cfg(feature = "jobs")]
    pub(crate) fn ring_after_commit(&self, bell: Arc<dyn Rings>) {
        either!(self, frame => frame.ring_after_commit(bell));
    }

    pub(crate) fn after_commit(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        either!(self, frame => frame.after_commit(future))
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        either!(self, frame => frame.check())
    }

    /// Notes that the call uses its database, and not something else.
    pub(crate) fn enter(&self) -> Option<Active<'_>> {
        match self {
            Self::File(frame) => Some(frame.session().enter()),
            #[cfg(feature = "remote")]
            Self::Server(_) => None,
        }
    }
}
