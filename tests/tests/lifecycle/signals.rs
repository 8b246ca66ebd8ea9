//! `close_on_signal`: the end of a program in one line.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{poll_once, watch, within};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Holds {
    core: ManagerCore,
    began: Notify,
    go_on: Notify,
}

dbm_tests::schema!(Holds);

impl Holds {
    #[database_safe]
    async fn hold(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.began.notify_one();
        self.go_on.notified().await;
        Ok(())
    }
}

fn terminate_this_process(signal: &str) {
    let this = std::process::id().to_string();
    let told = Command::new("kill").args(["-s", signal, &this]).status();
    assert!(told.unwrap().success());
}

const HOUR: Duration = Duration::from_secs(3600);

/// Comes back once it listens.
async fn listening(store: &Arc<Holds>) -> JoinHandle<Result<()>> {
    let store = Arc::clone(store);
    let (sender, listens) = oneshot::channel();
    let closing = tokio::spawn(async move {
        let mut closing = Box::pin(store.close_on_signal(HOUR));
        assert!(poll_once(&mut closing).await.is_pending());
        sender.send(()).unwrap();
        closing.await
    });
    within(listens).await.unwrap();
    closing
}

async fn reached(store: &Holds, wanted: Status) {
    let mut status = store.watch_status();
    within(status.wait_for(|status| *status == wanted))
        .await
        .unwrap();
}

/// In one test, because every listener of a process hears its signals.
#[test]
fn a_signal_closes_and_a_second_one_interrupts() {
    watch(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for signal in ["INT", "TERM"] {
                one_signal(signal).await;
            }
            two_signals().await;
            without_a_signal().await;
        });
    });
}

async fn one_signal(signal: &str) {
    let store = Holds::create(Config::in_memory()).await.unwrap();
    {
        let mut dropped = Box::pin(store.close_on_signal(HOUR));
        assert!(poll_once(&mut dropped).await.is_pending());
    }
    assert_eq!(store.status(), Status::Running);
    let (hold, closing) = (hold(&store).await, listening(&store).await);
    terminate_this_process(signal);
    reached(&store, Status::Stopping).await;
    store.go_on.notify_one();
    within(closing).await.unwrap().unwrap();
    within(hold).await.unwrap().unwrap();
    assert_eq!(store.status(), Status::Stopped);
}

async fn two_signals() {
    let store = Holds::create(Config::in_memory()).await.unwrap();
    let (hold, closing) = (hold(&store).await, listening(&store).await);
    terminate_this_process("TERM");
    reached(&store, Status::Stopping).await;
    terminate_this_process("TERM");
    within(closing).await.unwrap().unwrap();
    assert_eq!(store.status(), Status::Stopped);
    store.go_on.notify_one();
    assert!(within(hold).await.unwrap().is_err());
}

async fn without_a_signal() {
    let store = Holds::create(Config::in_memory()).await.unwrap();
    let closing = listening(&store).await;
    store.close().await.unwrap();
    within(closing).await.unwrap().unwrap();
}

async fn hold(store: &Arc<Holds>) -> JoinHandle<Result<()>> {
    let this = Arc::clone(store);
    let hold = tokio::spawn(async move { this.hold().await });
    within(store.began.notified()).await;
    hold
}

#[test]
fn a_runtime_without_io_is_an_error() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Holds::create(Config::in_memory()).await.unwrap();
            let refused = store.close_on_signal(Duration::ZERO).await;
            assert!(matches!(refused, Err(Error::Runtime { .. })));
            assert_eq!(store.status(), Status::Running);
            store.close().await.unwrap();
        });
    });
}
