//! A call's place in a session: whose statement permit it is, and which calls of the same task are around it.

mod any;
mod many;
mod seat;
#[cfg(feature = "remote")]
mod server;
mod stream;

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

#[cfg(feature = "jobs")]
use crate::after_commit::{Rings, Ticket};
use crate::baton::{Baton, Held};
use crate::engine::{Access, HasSession, Session, Tried, Work, unless_inside, waits_for_itself};
use crate::error::{Error, Result};
use crate::limited::limited;
use crate::tables::Tables;

pub(crate) use any::{AnyFrame, Waiting};
pub(crate) use seat::Seat;
pub(crate) use stream::StreamPermit;

/// How a statement has started.
pub(crate) enum Started<'a, T> {
    Done(Result<T>),
    /// It runs on the worker thread, with the statement permit that it has.
    OnLane(StatementPermit<'a>),
    /// It must wait before it is decided where it runs.
    NotYet,
}

/// A call's frame. `S` is what the outermost call has: a [`Session`] with SQLite, or one with a server.
#[allow(missing_debug_implementations)]
pub(crate) struct Frame<S: Seat = Session> {
    pub(crate) manager: u64,
    place: Place<S>,
    /// A read has none: parallel reads would contend for its reference count.
    engine: Option<Arc<S::Engine>>,
    pub(crate) access: Access,
    pub(crate) method: &'static str,
    /// 0 for the outermost call.
    pub(crate) depth: usize,
    /// The session belongs to `init_db` or `migrate_db`.
    pub(crate) during_init: bool,
    /// Held for each statement, and for the whole of a nested call.
    statement_permit: Baton,
    /// The permit is held by a statement that does not run where the task is.
    in_statement: AtomicBool,
    /// The permit is held by a stream.
    in_stream: AtomicBool,
    ended: AtomicBool,
    poisoned: AtomicBool,
    around: Option<AnyFrame>,
}

/// Where the session is that a call uses.
enum Place<S: Seat> {
    Outermost(S),
    /// In the outermost call's frame.
    Nested(Arc<Frame<S>>),
}

impl HasSession for Frame {
    fn session(&self) -> &Session {
        Frame::session(self)
    }
}

impl<S: Seat> Frame<S> {
    pub(crate) fn outermost(
        manager: u64,
        engine: &Arc<S::Engine>,
        session: S,
        during_init: bool,
    ) -> Arc<Self> {
        let (access, method) = session.call();
        Arc::new(Self {
            manager,
            engine: (access != Access::Read).then(|| Arc::clone(engine)),
            access,
            method,
            place: Place::Outermost(session),
            depth: 0,
            during_init,
            statement_permit: Baton::default(),
            in_statement: AtomicBool::new(false),
            in_stream: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            around: AnyFrame::current(),
        })
    }

    pub(crate) fn nested(parent: &Arc<Self>, access: Access, method: &'static str) -> Arc<Self> {
        let outermost = match &parent.place {
            Place::Outermost(_) => parent,
            Place::Nested(outermost) => outermost,
        };
        Arc::new(Self {
            manager: parent.manager,
            place: Place::Nested(Arc::clone(outermost)),
            engine: parent.engine.clone(),
            access,
            method,
            depth: parent.depth + 1,
            during_init: parent.during_init,
            statement_permit: Baton::default(),
            in_statement: AtomicBool::new(false),
            in_stream: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            around: AnyFrame::current(),
        })
    }

    /// What the outermost call has.
    #[inline]
    pub(crate) fn session(&self) -> &S {
        match &self.place {
            Place::Outermost(session) => session,
            Place::Nested(outermost) => outermost.session(),
        }
    }

    /// The engine that a write is made on.
    pub(crate) fn engine(&self) -> Result<&Arc<S::Engine>> {
        self.engine.as_ref().ok_or(Error::HandleEnded)
    }

    /// Promises to run a future after the commit of the transaction.
    pub(crate) fn after_commit(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        self.check()?;
        let after_commit = S::after_commit(self.engine()?);
        if let Some(ticket) = after_commit.promise(self.method, future)? {
            self.session().promise(ticket);
        }
        Ok(())
    }

    /// Rings after the commit of the transaction.
    #[cfg(feature = "jobs")]
    pub(crate) fn ring_after_commit(&self, bell: Arc<dyn Rings>) {
        self.session().promise(Ticket::ring(bell));
    }
}

impl Frame {
    /// Runs a statement here and now, if it may run here and need not wait for anything.
    pub(crate) fn try_statement<T>(&self, work: &mut Work<'_, T>) -> Started<'_, T> {
        let mut nobody = Context::from_waker(Waker::noop());
        let may_go_on =
            work.sql().is_some() && pin!(self.consume_budget()).poll(&mut nobody).is_ready();
        let permit = may_go_on
            .then(|| self.statement_permit.try_take())
            .flatten();
        let Some(permit) = permit else {
            return Started::NotYet;
        };
        if self.check().is_err() {
            return Started::NotYet;
        }
        let (reads, shares) = (self.access == Access::Read, self.access == Access::Write);
        let session = self.session();
        match session.try_here(work, reads, shares) {
            Tried::Done(result) => {
                session.set_asked();
                let result = result.unwrap_or_else(|panic| resume_unwind(panic));
                Started::Done(self.note_failure(result))
            }
            Tried::NotYet => Started::NotYet,
            Tried::NotHere => Started::OnLane(self.note_statement(permit)),
        }
    }

    /// Runs a statement that has to wait. If it has a `permit`, it is decided that it runs on the worker thread.
    pub(crate) async fn statement<T: Send + 'static>(
        self: &Arc<Self>,
        work: Work<'_, T>,
        permit: Option<StatementPermit<'_>>,
    ) -> Result<T> {
        let _active = self.session().enter();
        let is_decided = permit.is_some();
        let _permit = self.admit(self.needs_exclusive(&work), permit).await?;
        let (poison, reads) = (|| self.poison(), self.access == Access::Read);
        let result = if is_decided {
            Session::run_on_lane(self, work, reads, &poison).await
        } else {
            Session::run(self, work, reads, &poison).await
        };
        if self.access == Access::Connection {
            // Each statement commits by itself.
            self.engine()?.writer.tell_live_reads(|| Tables::All);
        }
        self.note_failure(result)
    }

    /// Waits until a statement may run. Its permit, if it has none, is the one that it gets.
    async fn admit<'a>(
        self: &'a Arc<Self>,
        needs_exclusive: bool,
        permit: Option<StatementPermit<'a>>,
    ) -> Result<StatementPermit<'a>> {
        if permit.is_none() {
            self.consume_budget().await;
        }
        self.session().set_asked();
        let permit = match permit {
            Some(permit) => permit,
            None => self.take_statement_permit().await?,
        };
        self.check()?;
        Session::begin_late(self).await?;
        if needs_exclusive {
            let writer = &self.engine()?.writer;
            writer.become_exclusive(self, self.depth).await?;
        }
        Ok(permit)
    }

    fn needs_exclusive<T>(&self, work: &Work<'_, T>) -> bool {
        match self.access {
            Access::Write => work.needs_exclusive(),
            // A closure has the bare connection, also in a read inside a write.
            _ => self.session().access == Access::Write && work.sql().is_none(),
        }
    }

    /// A statement was dropped, and it is unknown what it has done.
    fn poison(&self) {
        if self.access != Access::Read {
            self.poisoned.store(true, Ordering::Relaxed);
        }
    }

    /// A loop of short statements never waits, so it lets other tasks run here. The first statement does so before the
    /// call has its connection, so that no other call waits for that meanwhile.
    async fn consume_budget(&self) {
        if self.session().was_asked() {
            tokio::task::coop::consume_budget().await;
        }
    }
}

impl<S: Seat> Frame<S> {
    fn note_failure<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            self.session()
                .set_failure(&error, self.access == Access::Read);
            error.in_method(self.method)
        })
    }

    async fn take_statement_permit(&self) -> Result<StatementPermit<'_>> {
        let permit = match self.statement_permit.try_take() {
            Some(permit) => permit,
            None if self.in_statement.load(Ordering::Relaxed) => {
                // This statement has borrowed the handle, so the one that still runs was leaked.
                self.abandon_statement();
                return Err(Error::StatementDropped);
            }
            None => Box::pin(self.wait_for_statement_permit(self.method)).await?,
        };
        Ok(self.note_statement(permit))
    }

    fn note_statement<'a>(&'a self, permit: Held<'a>) -> StatementPermit<'a> {
        self.in_statement.store(true, Ordering::Relaxed);
        StatementPermit {
            in_statement: &self.in_statement,
            _permit: permit,
        }
    }

    async fn wait_for_statement_permit(&self, method: &'static str) -> Result<Held<'_>> {
        let session = self.session();
        let limit = session.acquire_timeout();
        let wait = pin!(async {
            limited(limit, self.statement_permit.take())
                .await
                .ok_or(Error::AcquireTimeout {
                    method,
                    waited: limit,
                    holder: self.method,
                    held: limit,
                    queued: 0,
                })
        });
        let refused = |_| waits_for_itself(method, self.method);
        unless_inside(|| session.is_run_here(), wait, refused).await
    }

    /// The statement permit for the whole of the nested call `method`.
    pub(crate) async fn lend(self: &Arc<Self>, method: &'static str) -> Result<LentPermit<S>> {
        self.check_no_stream(method)?;
        tokio::task::coop::consume_budget().await;
        let is_inside = self.session().is_run_here().is_some();
        let at_once = (!is_inside).then(|| self.statement_permit.try_take());
        let permit = match at_once.flatten() {
            Some(permit) => permit,
            None => Box::pin(self.wait_for_statement_permit(method)).await?,
        };
        permit.keep();
        Ok(LentPermit(Arc::clone(self)))
    }

    /// Ends the frame when its body is over: its handle only returns errors from here on. A statement that still runs was
    /// leaked. A nested call that goes on elsewhere, or is being undone, is waited for.
    pub(crate) async fn end(&self) {
        let is_idle = self.statement_permit.is_free();
        if !is_idle && Box::pin(self.take_statement_permit()).await.is_err() {
            self.abandon_statement();
        }
        // Release: the partner of the load in `check`.
        self.ended.store(true, Ordering::Release);
    }

    /// The same, for a call whose body was dropped.
    pub(crate) fn end_now(&self) {
        // Release: the partner of the load in `check`.
        self.ended.store(true, Ordering::Release);
        if self.in_statement.load(Ordering::Relaxed) {
            self.abandon_statement();
        }
    }

    /// Stops a statement whose result is never awaited. The call's work cannot be trusted any more.
    fn abandon_statement(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
        self.session().abandon();
    }

    pub(crate) fn check(&self) -> Result<()> {
        // Acquire: the partner of the stores in `end` and `end_now`.
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::HandleEnded);
        }
        self.check_whole()?;
        self.session().check()
    }

    /// Fails if a statement was dropped while it ran.
    pub(crate) fn check_whole(&self) -> Result<()> {
        if self.is_whole() {
            Ok(())
        } else {
            Err(Error::StatementDropped)
        }
    }

    /// Whether every statement ran to its end. Otherwise it is unknown what it has done.
    pub(crate) fn is_whole(&self) -> bool {
        !self.poisoned.load(Ordering::Relaxed)
    }
}

/// The statement permit of a frame, while a statement has it.
pub(crate) struct StatementPermit<'a> {
    in_statement: &'a AtomicBool,
    _permit: Held<'a>,
}

impl Drop for StatementPermit<'_> {
    fn drop(&mut self) {
        self.in_statement.store(false, Ordering::Relaxed);
    }
}

/// The statement permit of a frame, while a nested call has it.
pub(crate) struct LentPermit<S: Seat = Session>(Arc<Frame<S>>);

impl<S: Seat> Drop for LentPermit<S> {
    fn drop(&mut self) {
        self.0.statement_permit.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::AtomicU64;
    use std::task::Poll;

    use super::*;
    use crate::config::{Config, Execution};
    use crate::params::Params as _;
    use crate::test_support::{engine_in_memory, engine_of, run};
    use crate::unique_id::next_id;

    /// Its handle may have been sent to another thread, while the body makes calls.
    #[test]
    fn a_statement_has_the_turn_while_it_runs() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static FRAME: RefCell<Option<Arc<Frame>>> = const { RefCell::new(None) };
        }
        let engine = engine_of(Config::in_memory().execution(Execution::Inline));
        let conn = Arc::clone(&engine.writer.conn);
        let session = Session::new(conn, next_id(), Access::Read, "looks", false, &COUNT);
        session.take(&mut session.conn.lock()).unwrap();
        let frame = Frame::outermost(next_id(), &engine, session, false);
        FRAME.set(Some(Arc::clone(&frame)));
        let mut looks = Work::Statement {
            sql: "SELECT 1".into(),
            params: ().into_params().unwrap(),
            finish: |_| Ok(FRAME.take().unwrap().statement_permit.try_take().is_some()),
            returns_rows: true,
        };
        let Started::Done(was_free) = frame.try_statement(&mut looks) else {
            panic!("it runs here");
        };
        assert!(!was_free.unwrap());
        assert!(frame.statement_permit.try_take().is_some());
    }

    /// The call was ended before its first statement.
    #[test]
    fn a_body_that_tries_again_and_again_lets_other_tasks_run() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = engine_in_memory();
        let conn = Arc::clone(&engine.writer.conn);
        let session = Session::new(conn, next_id(), Access::Read, "ended", false, &COUNT);
        let frame = Frame::outermost(next_id(), &engine, session, false);
        frame.session().lose(Error::HandleEnded);
        let mut tries = Box::pin(async {
            for _ in 0..1_000 {
                let nothing = Work::Closure(Some(Box::new(|_| Ok(()))));
                assert!(frame.statement(nothing, None).await.is_err());
            }
        });
        run(std::future::poll_fn(|context| {
            assert!(tries.as_mut().poll(context).is_pending());
            Poll::Ready(())
        }));
    }
}
