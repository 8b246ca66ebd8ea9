mod hazards;
mod watchdog;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::scheduler::{Finished, Reason};
use super::{Writer, WriterPermit};
use crate::config::Config;
use crate::engine::connection::Conn;
use crate::engine::open::{Opener, Role};
use crate::engine::readers::Readers;
use crate::engine::session::{Access, Session};
use crate::error::Error;
use crate::test_support::{hold_up, is_told_of_no_file, run, starts};
use crate::unique_id::next_id;

static OFFLOADED: AtomicU64 = AtomicU64::new(0);

pub(super) fn writer(config: Config) -> Arc<Writer> {
    let opener = Opener::new(":memory:".into(), config);
    let conn = Conn::new(Role::Writer, Arc::clone(&opener));
    conn.take_over(opener.in_memory().unwrap());
    let readers = Readers::new(Arc::clone(&opener));
    Writer::new(conn, opener, readers)
}

fn session(writer: &Writer, method: &'static str) -> Arc<Session> {
    let (conn, access) = (Arc::clone(&writer.conn), Access::Write);
    Arc::new(Session::new(
        conn,
        next_id(),
        access,
        method,
        false,
        &OFFLOADED,
    ))
}

/// A call in the middle of a transaction that others may join.
pub(super) async fn begin(
    writer: &Arc<Writer>,
    method: &'static str,
) -> (WriterPermit<'static>, Arc<Session>) {
    let session = session(writer, method);
    let permit = writer.acquire(&session, None, false).await.unwrap();
    session.take_connection().await.unwrap();
    Session::begin_write(&session).await.unwrap();
    writer.include(None, false);
    (permit.into_owned(), session)
}

async fn in_transaction() -> (Arc<Writer>, WriterPermit<'static>, Arc<Session>) {
    let writer = writer(Config::in_memory());
    let (permit, session) = begin(&writer, "first").await;
    (writer, permit, session)
}

/// A member of the transaction had a file error that leaves the transaction as it is.
#[test]
fn connections_are_not_opened_anew_in_the_middle_of_a_transaction() {
    run(async {
        let (writer, _permit, _session) = in_transaction().await;
        writer.spoil();
        writer.mend().await.unwrap();
        let mut slot = writer.conn.lock();
        assert!(!slot.db().unwrap().connection.is_autocommit());
    });
}

/// The task that mends is kept from running meanwhile.
#[test]
fn reads_are_held_up_no_longer_than_connections_are_opened_anew() {
    run(async {
        let writer = writer(Config::in_memory());
        let first = session(&writer, "first");
        let _permit = writer.acquire(&first, None, false).await.unwrap();
        writer.spoil();
        let go_on = hold_up(&writer.conn);
        let mut mends = pin!(writer.mend());
        starts(mends.as_mut(), Waker::noop());
        go_on.send(()).unwrap();
        writer.readers.acquire("read").await.unwrap();
    });
}

/// The close comes before the commit of a call that is done, and whose permit cannot be taken away.
#[test]
fn a_transaction_that_is_closed_before_its_commit_is_refused_as_closed() {
    run(async {
        let (writer, permit, session) = in_transaction().await;
        writer.shut();
        writer.close();
        let ended = writer.finish(permit, &session).await;
        assert!(
            matches!(ended, Err(Error::Closed { method: "first" })),
            "{ended:?}"
        );
    });
}

/// Undoes the work of the holder, unless that is part of the transaction, and waits until that is done.
async fn evict(writer: &Arc<Writer>, session: &Arc<Session>) {
    let shared = Arc::clone(session);
    writer.evict(shared, Reason::Stalled);
    let (sender, done) = tokio::sync::oneshot::channel();
    let tell = |()| {
        let _ = sender.send(());
    };
    writer.conn.post(|| (), tell).unwrap();
    done.await.unwrap();
}

/// The body has ended well, so its work stays, and is committed without the call.
#[test]
fn a_call_that_is_taken_out_before_its_commit_is_told_of_the_commit() {
    run(async {
        let (writer, permit, session) = in_transaction().await;
        session.resolve();
        evict(&writer, &session).await;
        assert!(writer.conn.lock().db().unwrap().connection.is_autocommit());
        // The outcome of that commit: there is no file here.
        let ended = writer.finish(permit, &session).await;
        assert!(is_told_of_no_file(&ended), "{ended:?}");
    });
}

/// The call went on after the error, and then kept others waiting.
#[test]
fn a_call_that_is_taken_out_after_a_file_error_has_the_connections_opened_anew() {
    run(async {
        let (writer, _permit, session) = in_transaction().await;
        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        let failed = rusqlite::Error::SqliteFailure(failed, None);
        session.set_failure(&failed.into(), false);
        evict(&writer, &session).await;
        assert!(writer.spoilt.load(Ordering::Acquire));
    });
}

#[test]
fn a_call_that_is_taken_out_of_a_lost_transaction_does_not_wait_for_its_commit() {
    run(async {
        let (writer, permit, session) = in_transaction().await;
        session.resolve();
        writer.batch_lost("another");
        evict(&writer, &session).await;
        let ended = writer.finish(permit, &session).await;
        assert!(matches!(ended, Err(Error::HandleEnded)), "{ended:?}");
    });
}

/// Each call gives up before the time at which it would take back the permit of a call that does not run.
#[test]
fn a_permit_that_nobody_comes_for_is_taken_back_by_those_who_are_impatient_too() {
    run(async {
        let writer = writer(Config::in_memory().acquire_timeout(Duration::from_millis(1)));
        let first = session(&writer, "first");
        let permit = writer.acquire(&first, None, false).await.unwrap();
        let absent = session(&writer, "absent");
        let mut absent = pin!(writer.acquire(&absent, None, false));
        let mut context = Context::from_waker(Waker::noop());
        assert!(absent.as_mut().poll(&mut context).is_pending());
        drop(permit);
        let impatient = session(&writer, "impatient");
        while let Err(error) = writer.acquire(&impatient, None, false).await {
            assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        }
    });
}

#[test]
fn a_permit_is_taken_from_a_call_that_has_not_come_to_its_connection_too() {
    run(async {
        let writer = writer(Config::in_memory());
        let stalled = session(&writer, "stalled");
        let _permit = writer.acquire(&stalled, None, false).await.unwrap();
        writer.evict(stalled.clone(), Reason::Stalled);
        let next = session(&writer, "next");
        let _permit = writer.acquire(&next, None, false).await.unwrap();
        next.take_connection().await.unwrap();
        stalled.take_connection().await.unwrap_err();
        writer.conn.lock().owned_by(next.id).unwrap();
    });
}

/// There is nothing to wait for.
#[test]
fn a_begin_that_fails_for_another_reason_than_a_lock_is_not_tried_again() {
    run(async {
        let hour = Duration::from_secs(3_600);
        let writer = writer(Config::in_memory().busy_timeout(hour));
        let (_permit, session) = begin(&writer, "first").await;
        let begun = Session::begin_write(&session).await;
        assert!(matches!(begun, Err(Error::Sqlite { .. })), "{begun:?}");
    });
}

#[test]
fn the_writer_is_not_taken_while_the_library_commits() {
    run(async {
        let (writer, permit, session) = in_transaction().await;
        let id = permit.id;
        permit.disarm();
        let commits =
            writer.step(|scheduler, effects| scheduler.finish(id, true, Instant::now, effects));
        assert!(matches!(commits, Finished::Commit(_)));
        evict(&writer, &session).await;
        assert!(writer.note(|scheduler| scheduler.holder().is_some()));
        let mut slot = writer.conn.lock();
        assert!(!slot.db().unwrap().connection.is_autocommit());
    });
}
