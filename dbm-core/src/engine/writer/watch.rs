//! Looks after those who wait for a commit that others make, from a thread of its own: any task may be kept from running,
//! and a timer for each of them would cost an eighth of their time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::Writer;
use super::queue::UNCLAIMED;
use crate::engine::lane::Lane;

/// Looks without anybody to look after, before the thread has nothing to do; about a second.
const IDLE: u32 = 50;

#[derive(Default)]
pub(super) struct Watch {
    lane: Lane,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: AtomicBool,
    closed: Mutex<bool>,
    closing: Condvar,
}

impl Writer {
    /// Has those who wait for a commit looked after; false when there is no thread for it.
    pub(super) fn is_watched(self: &Arc<Self>) -> bool {
        let Watch { lane, shared } = &self.watch;
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        // Held until it is known whether the thread runs.
        let _closed = shared.lock();
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        let (watching, writer) = (Arc::clone(shared), Arc::downgrade(self));
        let runs = lane.post(move || watching.run(&writer)).is_ok();
        shared.running.store(runs, Ordering::SeqCst);
        runs
    }

    fn has_members(&self) -> bool {
        let state = self.lock();
        !state.batch.members.are_none() || !state.done.is_empty()
    }
}

impl Watch {
    /// Ends the thread when it has nobody to look after.
    pub(super) fn close(&self) {
        *self.shared.lock() = true;
        self.shared.closing.notify_all();
        self.lane.close();
    }
}

impl Shared {
    fn run(&self, writer: &Weak<Writer>) {
        let mut idle = 0;
        loop {
            let writer = writer.upgrade();
            if let Some(writer) = &writer {
                // It wakes tasks, and an executor may panic: the others are looked after all the same.
                let _ = catch_unwind(AssertUnwindSafe(|| writer.go_on_without_holder()));
            }
            let closed = self.lock();
            // Whoever joins from here on finds that the thread may end, and waits for what comes of it.
            self.running.store(false, Ordering::SeqCst);
            let has_members = writer.is_some_and(|writer| writer.has_members());
            idle = if has_members { 0 } else { idle + 1 };
            if !has_members && (*closed || idle > IDLE) {
                return;
            }
            self.running.store(true, Ordering::SeqCst);
            let woken = self.closing.wait_timeout(closed, UNCLAIMED);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;

    use super::super::Turn;
    use super::super::tests::{begin, writer};
    use super::*;
    use crate::config::Config;
    use crate::engine::session::Session;
    use crate::error::{Error, Result};
    use crate::test_support::{hold_up, is_told_of_no_file, run, starts};

    type Answer = Pin<Box<dyn Future<Output = Result<()>>>>;

    fn started(answer: impl Future<Output = Result<()>> + 'static, waker: &Waker) -> Answer {
        let mut answer: Answer = Box::pin(answer);
        starts(answer.as_mut(), waker);
        answer
    }

    /// Somebody who waits for the commit.
    fn member(writer: &Arc<Writer>, waker: &Waker) -> Answer {
        let (ending, writer) = (writer.lock().batch.members.join(), Arc::clone(writer));
        started(async move { ending.wait(&writer).await }, waker)
    }

    /// Somebody who makes the commit, on the lane, and whose task does not run any more.
    fn commits(writer: &Arc<Writer>, (turn, session): (Turn, Arc<Session>)) -> Answer {
        let writer = Arc::clone(writer);
        let commits = async move { writer.finish(turn, &session).await };
        started(commits, Waker::noop())
    }

    /// Waits until nobody is looked after.
    async fn ended(writer: &Writer) {
        while Arc::strong_count(&writer.watch.shared) > 1 {
            tokio::task::yield_now().await;
        }
    }

    /// In all of these tests nothing but the member's task runs while it waits.
    #[test]
    fn members_are_told_of_a_commit_that_took_longer_than_the_thread_had_nothing_to_do() {
        run(async {
            let writer = writer(Config::in_memory());
            let call = begin(&writer, "commits").await;
            let member = member(&writer, Waker::noop());
            let go_on = hold_up(&writer.conn);
            let _commits = commits(&writer, call);
            ended(&writer).await;
            go_on.send(()).unwrap();
            let told = member.await;
            assert!(is_told_of_no_file(&told), "{told:?}");
        });
    }

    #[test]
    fn members_are_told_of_a_commit_that_comes_after_the_close() {
        run(async {
            let writer = writer(Config::in_memory());
            let call = begin(&writer, "commits").await;
            let member = member(&writer, Waker::noop());
            let close = hold_up(&writer.conn);
            let closing = Arc::clone(&writer);
            writer.conn.post(move || closing.close(), drop).unwrap();
            let go_on = hold_up(&writer.conn);
            let _commits = commits(&writer, call);
            close.send(()).unwrap();
            ended(&writer).await;
            go_on.send(()).unwrap();
            let told = member.await;
            assert!(matches!(told, Err(Error::HandleEnded)), "{told:?}");
        });
    }

    /// A transaction, and the call that is to commit it but stands still.
    async fn stalled() -> (Arc<Writer>, impl Sized) {
        let writer = writer(Config::in_memory());
        let (turn, session) = begin(&writer, "stalls").await;
        session.settle();
        (writer, (turn, session))
    }

    struct Tells(Sender<()>);

    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    /// Nothing runs while it waits, no timer either.
    #[test]
    fn members_are_looked_after_without_a_runtime() {
        let mut stands_still = None;
        run(async { stands_still = Some(stalled().await) });
        let (writer, _holder) = stands_still.unwrap();
        let (sender, woken) = channel();
        let mut member = member(&writer, &Waker::from(Arc::new(Tells(sender))));
        woken.recv_timeout(Duration::from_secs(20)).unwrap();
        let told = member
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(
            matches!(&told, Poll::Ready(told) if is_told_of_no_file(told)),
            "{told:?}"
        );
    }

    #[test]
    fn members_look_after_themselves_when_there_is_no_thread() {
        run(async {
            let (writer, _holder) = stalled().await;
            writer.watch.close();
            let told = member(&writer, Waker::noop()).await;
            assert!(is_told_of_no_file(&told), "{told:?}");
            assert!(!writer.is_watched());
        });
    }

    #[test]
    fn calls_that_do_not_share_need_no_thread() {
        run(async {
            let writer = writer(Config::in_memory());
            for _ in 0..3 {
                let (turn, session) = begin(&writer, "alone").await;
                let _ = writer.finish(turn, &session).await;
            }
            assert!(!writer.watch.shared.running.load(Ordering::SeqCst));
            assert_eq!(Arc::strong_count(&writer.watch.shared), 1);
        });
    }

    #[test]
    fn the_thread_is_gone_after_the_close() {
        thread_local! {
            static ENDS: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
        }
        let writer = writer(Config::in_memory());
        let (sender, ended) = channel();
        let keep = move || ENDS.set(Some(sender));
        writer.watch.lane.post(keep).unwrap();
        assert!(writer.is_watched());
        writer.close();
        let ended = ended.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
    }

    struct Panics(Arc<AtomicBool>);

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            panic!("the executor has gone");
        }
    }

    #[test]
    fn a_member_whose_executor_panics_does_not_leave_the_next_ones_alone() {
        run(async {
            let writer = writer(Config::in_memory());
            let call = begin(&writer, "first").await;
            let panicked = Arc::<AtomicBool>::default();
            let waker = Waker::from(Arc::new(Panics(Arc::clone(&panicked))));
            let _abandoned = member(&writer, &waker);
            let go_on = hold_up(&writer.conn);
            let _commits = commits(&writer, call);
            go_on.send(()).unwrap();
            while !panicked.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }

            let call = begin(&writer, "second").await;
            let member = member(&writer, Waker::noop());
            let go_on = hold_up(&writer.conn);
            let _commits = commits(&writer, call);
            go_on.send(()).unwrap();
            let told = member.await;
            assert!(is_told_of_no_file(&told), "{told:?}");
        });
    }
}
