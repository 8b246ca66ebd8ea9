use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{begin, session, writer};
use crate::config::Config;
use crate::engine::session::Session;
use crate::engine::writer::shell::Scheduler;
use crate::engine::writer::{Writer, WriterPermit};
use crate::error::{Error, Result};
use crate::test_support::{hold_up, is_told_of_no_file, run, starts};

type Answer = Pin<Box<dyn Future<Output = Result<()>>>>;

fn started(answer: impl Future<Output = Result<()>> + 'static, waker: &Waker) -> Answer {
    let mut answer: Answer = Box::pin(answer);
    starts(answer.as_mut(), waker);
    answer
}

/// A call that waits for the commit.
fn member(writer: &Arc<Writer>, waker: &Waker) -> Answer {
    let (outcome, writer) = (writer.note(Scheduler::follow).unwrap(), Arc::clone(writer));
    started(async move { writer.wait_for(&outcome).await }, waker)
}

/// A call that commits, on the worker thread, and whose task does not run any more.
fn commits(
    writer: &Arc<Writer>,
    (permit, session): (WriterPermit<'static>, Arc<Session>),
) -> Answer {
    let writer = Arc::clone(writer);
    let commits = async move { writer.finish(permit, &session).await };
    started(commits, Waker::noop())
}

/// Waits until the watchdog watches no call.
async fn ended(writer: &Writer) {
    while Arc::strong_count(&writer.watchdog.shared) > 1 {
        tokio::task::yield_now().await;
    }
}

/// In all of these tests only the member's task runs while it waits.
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

/// A transaction, and the call that should commit it but does not run.
async fn stalled() -> (Arc<Writer>, impl Sized) {
    let writer = writer(Config::in_memory());
    let (permit, session) = begin(&writer, "stalls").await;
    session.resolve();
    (writer, (permit, session))
}

struct Tells(Sender<()>);

impl Wake for Tells {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Nothing runs while it waits, not even a timer.
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
        writer.watchdog.close();
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
            let (permit, session) = begin(&writer, "alone").await;
            let _ = writer.finish(permit, &session).await;
            // The thread that commits answers before it passes the writer on. A call that came in between would queue.
            while writer.note(|scheduler| scheduler.holder().is_some()) {
                tokio::task::yield_now().await;
            }
        }
        assert!(!writer.watchdog.shared.running.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&writer.watchdog.shared), 1);
    });
}

#[test]
fn the_thread_is_gone_after_the_close() {
    run(async {
        let writer = writer(Config::in_memory());
        assert!(writer.is_watched());
        writer.close();
        ended(&writer).await;
        assert!(!writer.is_watched());
    });
}

/// Nothing else ends its wait: the writer is held, and no runtime has a timer.
#[test]
fn a_call_in_the_queue_is_told_when_it_has_waited_too_long() {
    run(async {
        let limit = Duration::from_millis(50);
        let writer = writer(Config::in_memory().acquire_timeout(limit));
        let _holder = begin(&writer, "holds").await;
        let session = session(&writer, "waits");
        let refused = writer.acquire(&session, None, false).await.err();
        let error = refused.expect("nobody gives the writer back");
        assert!(
            matches!(
                error,
                Error::AcquireTimeout {
                    method: "waits",
                    holder: "holds",
                    queued: 1,
                    ..
                }
            ),
            "{error}"
        );
    });
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
