//! Executors and race conditions that a writer must survive.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Wake, Waker};

use super::{evict, session, writer};
use crate::config::{Config, Execution};
use crate::engine::connection::Conn;
use crate::engine::session::Session;
use crate::engine::share_policy::SharePolicy;
use crate::engine::writer::{Writer, WriterPermit};
use crate::error::{Error, Result};
use crate::test_support::{is_told_of_no_file, run, starts};

/// The policy of a method whose calls share transactions.
fn shares() -> &'static SharePolicy {
    static POLICY: SharePolicy = SharePolicy::new();
    while !POLICY.may_share() {
        POLICY.ran_clean();
    }
    &POLICY
}

type Answer = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A call that is done and waits for the commit of the call that has joined its transaction.
struct Two {
    writer: Arc<Writer>,
    first: Answer,
    _permit: WriterPermit<'static>,
    second: Arc<Session>,
}

impl Two {
    async fn new(waker: &Waker) -> Self {
        let writer = writer(Config::in_memory());
        let session_of_first = session(&writer, "first");
        let permit = writer
            .acquire(&session_of_first, Some(shares()), false)
            .await
            .unwrap()
            .into_owned();
        session_of_first.take_connection().await.unwrap();
        Session::begin(&session_of_first).await.unwrap();
        let second = session(&writer, "second");
        let mut waits = Box::pin({
            let (writer, second) = (Arc::clone(&writer), Arc::clone(&second));
            async move {
                writer
                    .acquire(&second, Some(shares()), false)
                    .await
                    .map(WriterPermit::into_owned)
            }
        });
        starts(waits.as_mut(), Waker::noop());
        session_of_first.resolve();
        writer.include(None, false);
        let mut first: Answer = Box::pin({
            let writer = Arc::clone(&writer);
            async move { writer.finish(permit, &session_of_first).await }
        });
        starts(first.as_mut(), waker);
        let permit = waits.await.unwrap();
        assert!(permit.joins);
        second.set_shared(true);
        second.take_connection().await.unwrap();
        Self {
            writer,
            first,
            _permit: permit,
            second,
        }
    }
}

#[test]
fn members_keep_their_transaction_when_a_call_is_evicted_before_its_savepoint() {
    run(async {
        let two = Two::new(Waker::noop()).await;
        evict(&two.writer, &two.second).await;
        let told = two.first.await;
        assert!(is_told_of_no_file(&told), "{told:?}");
    });
}

/// Reports whether the connection is free at the time of the wake.
struct Looks(Arc<Conn>, Sender<bool>);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let is_free = self.0.try_lock().is_some();
        self.1.send(is_free).unwrap();
    }
}

#[test]
fn members_of_a_lost_transaction_are_woken_outside_of_the_connections_lock() {
    run(async {
        let two = Two::new(Waker::noop()).await;
        Session::begin(&two.second).await.unwrap();
        let (sender, was_free) = channel();
        let looks = Waker::from(Arc::new(Looks(Arc::clone(&two.writer.conn), sender)));
        let mut first = two.first;
        starts(first.as_mut(), &looks);
        {
            let mut slot = two.writer.conn.lock();
            let db = slot.db().unwrap();
            // SQLite has ended the transaction.
            assert!(db.roll_back());
            two.writer.undo(db, &two.second);
        }
        drop(two._permit);
        assert!(was_free.recv().unwrap());
        let told = first.await;
        assert!(
            matches!(told, Err(Error::BatchLost { by: "second" })),
            "{told:?}"
        );
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("an executor fails");
    }
}

/// The thread that has committed wakes the next call in the queue.
#[test]
fn a_commit_is_told_whatever_the_waker_of_the_next_call_does() {
    run(async {
        let writer = writer(Config::in_memory().execution(Execution::Offload));
        let first = session(&writer, "first");
        let permit = writer.acquire(&first, None, false).await.unwrap();
        first.take_connection().await.unwrap();
        Session::begin(&first).await.unwrap();
        let second = session(&writer, "second");
        let mut waits = pin!(writer.acquire(&second, None, false));
        starts(waits.as_mut(), &Waker::from(Arc::new(Panics)));
        first.resolve();
        writer.include(None, false);
        let told = writer.finish(permit, &first).await;
        assert!(is_told_of_no_file(&told), "{told:?}");
        // It has the writer and can pass it on.
        drop(waits.await.unwrap());
    });
}

#[test]
fn a_call_that_ends_does_not_panic_with_the_waker_of_the_next_one() {
    run(async {
        let writer = writer(Config::in_memory());
        let permit = writer
            .acquire(&session(&writer, "first"), None, false)
            .await
            .unwrap();
        let second = session(&writer, "second");
        let mut waits = pin!(writer.acquire(&second, None, false));
        starts(waits.as_mut(), &Waker::from(Arc::new(Panics)));
        drop(permit);
        drop(waits.await.unwrap());
    });
}
