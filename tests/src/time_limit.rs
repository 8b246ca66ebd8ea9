//! A hang is a failure.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long one test may take where the disk is slow and the machine busy.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Runs a test on a runtime of its own with two workers. It fails after [`LIMIT`], also when it hangs where no
/// await point is.
///
/// # Panics
///
/// When the test panics or hangs.
pub fn run(test: impl Future<Output = ()> + Send + 'static) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    run_on(builder.worker_threads(2), test);
}

/// As [`run`], on a runtime with one thread.
///
/// # Panics
///
/// When the test panics or hangs.
pub fn run_on_one_thread(test: impl Future<Output = ()> + Send + 'static) {
    run_on(&mut tokio::runtime::Builder::new_current_thread(), test);
}

#[allow(clippy::panic, clippy::expect_used)]
fn run_on(builder: &mut tokio::runtime::Builder, test: impl Future<Output = ()> + Send + 'static) {
    let runtime = builder.enable_time().build().expect("a runtime");
    watch(move || runtime.block_on(test));
}

/// Runs a test without a runtime; it fails after [`LIMIT`].
///
/// # Panics
///
/// When the test panics or hangs.
#[allow(clippy::panic)]
pub fn watch(test: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        test();
        let _ = sender.send(());
    });
    match receiver.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Waits for something that must come to an end.
///
/// # Panics
///
/// When it does not within [`LIMIT`].
#[allow(clippy::panic)]
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("this takes too long"),
    }
}
