//! What unit tests of several modules need.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::config::Config;
use crate::engine::{Conn, Engine, Opener};
use crate::error::{Error, Result};
use crate::temporary::TemporaryDirectory;

/// Runs a test on this thread, with a time limit.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let limit = Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(limit, test).await.unwrap() });
}

/// A database in memory, open.
pub(crate) fn engine_in_memory() -> Arc<Engine> {
    engine_of(Config::in_memory())
}

pub(crate) fn engine_of(config: Config) -> Arc<Engine> {
    let engine = Engine::new(Opener::new(":memory:".into(), config), None);
    engine
        .writer
        .conn
        .take_over(engine.opener.in_memory().unwrap());
    engine
}

/// A new database in this directory, open, with its schema read.
pub(crate) fn engine_in(directory: &TemporaryDirectory) -> Arc<Engine> {
    engine_with(directory, Config::new(directory.path()))
}

/// The same, with other settings.
pub(crate) fn engine_with(directory: &TemporaryDirectory, config: Config) -> Arc<Engine> {
    let opener = Opener::new(directory.path().join("file"), config);
    let engine = Engine::new(opener, None);
    engine
        .writer
        .conn
        .take_over(engine.opener.create().unwrap());
    let read = engine.read_schema(engine.writer.conn.lock().db().unwrap());
    read.unwrap();
    engine
}

/// Polls once and asserts that the call has to wait.
pub(crate) fn starts<F: Future + ?Sized>(call: Pin<&mut F>, waker: &Waker) {
    assert!(call.poll(&mut Context::from_waker(waker)).is_pending());
}

/// Whether this is the result of a commit whose file was removed. On Windows an open file cannot be removed, so the
/// library does not check there.
pub(crate) fn is_told_of_no_file(told: &Result<()>) -> bool {
    match told {
        Ok(()) => cfg!(not(unix)),
        Err(error) => cfg!(unix) && matches!(error, Error::FileReplaced { .. }),
    }
}

/// Blocks the worker thread: jobs posted to it wait until the sender is used.
pub(crate) fn hold_up(conn: &Arc<Conn>) -> Sender<()> {
    let (go_on, may_go_on) = channel();
    let wait = move || may_go_on.recv_timeout(Duration::from_secs(10)).unwrap();
    conn.post(wait, drop).unwrap();
    go_on
}
