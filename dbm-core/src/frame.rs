//! A call's place in a session: whose turn it is, and which calls of the same task are around it.

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::engine::{Engine, Kind, Session, Tried, Work};
use crate::error::{Error, Result};

tokio::task_local! {
    static CURRENT: Arc<Frame>;
}

/// How a statement has started.
pub(crate) enum Started<'a, T> {
    Done(Result<T>),
    /// It runs on the lane, with the turn that it has.
    OnLane(SemaphorePermit<'a>),
    /// It has to wait before it is decided where it runs.
    NotYet,
}

#[allow(missing_debug_implementations)]
pub(crate) struct Frame {
    pub(crate) manager: u64,
    /// A read has none: processors that read side by side would fight over its count of owners.
    engine: Option<Arc<Engine>>,
    pub(crate) session: Arc<Session>,
    pub(crate) kind: Kind,
    pub(crate) method: &'static str,
    /// 0 for the outermost call.
    pub(crate) depth: usize,
    /// The session belongs to `init_db` or `migrate_db`.
    pub(crate) during_init: bool,
    /// Its one permit is held for each statement, and for the whole of a nested call.
    turn: Semaphore,
    ended: AtomicBool,
    poisoned: AtomicBool,
    around: Option<Arc<Frame>>,
}

impl Frame {
    pub(crate) fn outermost(
        manager: u64,
        engine: &Arc<Engine>,
        session: Arc<Session>,
        during_init: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            manager,
            engine: (session.kind != Kind::Read).then(|| Arc::clone(engine)),
            kind: session.kind,
            method: session.method,
            session,
            depth: 0,
            during_init,
            turn: Semaphore::new(1),
            ended: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            around: Self::current(),
        })
    }

    pub(crate) fn nested(parent: &Arc<Self>, kind: Kind, method: &'static str) -> Arc<Self> {
        Arc::new(Self {
            manager: parent.manager,
            engine: parent.engine.clone(),
            session: Arc::clone(&parent.session),
            kind,
            method,
            depth: parent.depth + 1,
            during_init: parent.during_init,
            turn: Semaphore::new(1),
            ended: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            around: Self::current(),
        })
    }

    fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The innermost call of this manager that the current task is in.
    pub(crate) fn of_manager(manager: u64) -> Option<Arc<Self>> {
        let mut frame = Self::current()?;
        while frame.manager != manager {
            frame = Arc::clone(frame.around.as_ref()?);
        }
        Some(frame)
    }

    /// The engine that a write is made on.
    pub(crate) fn engine(&self) -> Result<&Arc<Engine>> {
        self.engine.as_ref().ok_or(Error::HandleEnded)
    }

    /// Runs a body in which calls find this frame.
    pub(crate) fn scope<F: Future>(frame: &Arc<Self>, body: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Arc::clone(frame), body)
    }

    /// Runs a statement here and now if that is where it runs, and there is nothing to wait for.
    pub(crate) fn try_statement<T>(&self, work: &mut Work<'_, T>) -> Started<'_, T> {
        let mut nobody = Context::from_waker(Waker::noop());
        let may_go_on =
            work.sql().is_some() && pin!(self.consume_budget()).poll(&mut nobody).is_ready();
        let turn = may_go_on.then(|| self.turn.try_acquire());
        let Some(Ok(turn)) = turn else {
            return Started::NotYet;
        };
        if self.check().is_err() {
            return Started::NotYet;
        }
        let (reads, shares) = (self.kind == Kind::Read, self.kind == Kind::Write);
        match self.session.try_here(work, reads, shares) {
            Tried::Done(result) => {
                self.session.set_asked();
                let result = result.unwrap_or_else(|panic| resume_unwind(panic));
                Started::Done(self.note_failure(result))
            }
            Tried::MustBeAlone => Started::NotYet,
            Tried::NotHere => Started::OnLane(turn),
        }
    }

    /// Runs a statement that has to wait. With a `turn` it is decided that it runs on the lane.
    pub(crate) async fn statement<T: Send + 'static>(
        &self,
        work: Work<'_, T>,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<T> {
        let _active = self.session.enter();
        let is_decided = turn.is_some();
        if !is_decided {
            self.consume_budget().await;
        }
        self.session.set_asked();
        let _turn = match turn {
            Some(turn) => turn,
            None => self.take_turn().await?,
        };
        self.check()?;
        let must_be_alone = match self.kind {
            Kind::Write => work.must_be_alone(),
            // A closure has the connection in its hands, in a read inside a write too.
            _ => self.session.kind == Kind::Write && work.sql().is_none(),
        };
        if must_be_alone {
            let writer = &self.engine()?.writer;
            writer.go_alone(&self.session, self.depth).await?;
        }
        let poison = || {
            if self.kind != Kind::Read {
                self.poisoned.store(true, Ordering::Relaxed);
            }
        };
        let (session, reads) = (&self.session, self.kind == Kind::Read);
        self.note_failure(if is_decided {
            session.run_on_lane(work, reads, &poison).await
        } else {
            session.run(work, reads, &poison).await
        })
    }

    /// A loop of short statements never waits: it lets other tasks run all the same. The first statement is counted
    /// before the call has its connection, which nobody should wait for meanwhile.
    async fn consume_budget(&self) {
        if self.session.was_asked() {
            tokio::task::coop::consume_budget().await;
        }
    }

    fn note_failure<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.session.set_failure(error, self.kind == Kind::Read);
        }
        result
    }

    async fn take_turn(&self) -> Result<SemaphorePermit<'_>> {
        match self.turn.try_acquire() {
            Ok(turn) => Ok(turn),
            Err(_) => self.wait_for_turn(self.method).await,
        }
    }

    async fn wait_for_turn(&self, method: &'static str) -> Result<SemaphorePermit<'_>> {
        let limit = self.session.conn.config().acquire_timeout;
        match Box::pin(tokio::time::timeout(limit, self.turn.acquire())).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::AcquireTimeout {
                method,
                waited: limit,
                holder: self.method,
                held: limit,
                queued: 0,
            }),
        }
    }

    /// The turn for the whole of the nested call `method`.
    pub(crate) async fn lend(self: &Arc<Self>, method: &'static str) -> Result<Lent> {
        self.wait_for_turn(method).await?.forget();
        Ok(Lent(Arc::clone(self)))
    }

    /// Ends the frame once the statement that runs has ended: its handle is of no use from here on. A body that has
    /// leaked a statement has kept the turn for ever: then what it did cannot be trusted.
    pub(crate) async fn end(&self) {
        let turn = self.take_turn().await;
        if turn.is_err() {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        self.end_now();
    }

    pub(crate) fn end_now(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::HandleEnded);
        }
        self.check_whole()?;
        self.session.check()
    }

    /// Fails when a statement was dropped while it ran: nobody knows what of it was done.
    pub(crate) fn check_whole(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(Error::StatementDropped);
        }
        Ok(())
    }
}

/// The turn of a frame, while a nested call has it.
pub(crate) struct Lent(Arc<Frame>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.turn.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::AtomicU64;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Execution};
    use crate::engine::next_id;
    use crate::params::Params as _;
    use crate::test_support::run;

    /// Its handle may have been sent to another thread, while the body makes calls.
    #[test]
    fn a_statement_has_the_turn_while_it_runs() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static FRAME: RefCell<Option<Arc<Frame>>> = const { RefCell::new(None) };
        }
        let engine = Engine::in_memory(&Config::in_memory()).unwrap();
        let (conn, inline) = (Arc::clone(&engine.writer.conn), Execution::Inline);
        let session = Session::new(
            conn,
            next_id(),
            Kind::Read,
            "looks",
            inline,
            Duration::ZERO,
            &COUNT,
        );
        session.take(session.conn.lock()).unwrap();
        let frame = Frame::outermost(next_id(), &engine, session, false);
        FRAME.set(Some(Arc::clone(&frame)));
        let mut looks = Work::Statement {
            sql: "SELECT 1".into(),
            params: ().into_params().unwrap(),
            finish: |_| Ok(FRAME.take().unwrap().turn.available_permits()),
        };
        let Started::Done(permits) = frame.try_statement(&mut looks) else {
            panic!("it runs here");
        };
        assert_eq!(permits.unwrap(), 0);
        assert_eq!(frame.turn.available_permits(), 1);
    }

    /// The call was ended before its first statement.
    #[test]
    fn a_body_that_tries_again_and_again_lets_other_tasks_run() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = Engine::in_memory(&Config::in_memory()).unwrap();
        let (conn, auto) = (Arc::clone(&engine.writer.conn), Execution::Auto);
        let none = Duration::ZERO;
        let session = Session::new(conn, next_id(), Kind::Read, "ended", auto, none, &COUNT);
        let frame = Frame::outermost(next_id(), &engine, Arc::clone(&session), false);
        session.lose(Error::HandleEnded);
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
