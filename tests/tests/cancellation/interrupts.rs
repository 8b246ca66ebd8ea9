//! A running statement is interrupted, and nobody else's.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, poll_once, run, within};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ADD, ENDLESS, ENDLESS_CALLS, ENDLESS_WRITE, Store, config, next_item};

impl Store {
    #[database_safe(timeout = "20ms")]
    async fn endless_with_timeout(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.query_one(ENDLESS, ()).await
    }

    /// Tells when its statement is running.
    #[database_safe]
    async fn endless_read_telling(
        &self,
        db: &mut ReadTransaction,
        running: mpsc::UnboundedSender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            let _ = running.send(());
            Ok(c.query_row(ENDLESS, (), |row| row.get(0))?)
        })
        .await
    }

    #[database_safe]
    async fn endless_write_telling(
        &self,
        db: &mut WriteTransaction,
        running: mpsc::UnboundedSender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            let _ = running.send(());
            c.execute(ENDLESS_WRITE, ())?;
            Ok(0)
        })
        .await
    }
}

/// Everybody can be served, on every reader and on the writer.
async fn serves(store: &Arc<Store>, readers: usize) {
    let reads = (0..readers).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.halves_by_call(1).await })
    });
    let reads: Vec<_> = reads.collect();
    for read in reads {
        within(read).await.unwrap().unwrap();
    }
    within(store.add(next_item())).await.unwrap();
}

#[test]
fn a_statement_of_a_dropped_call_does_not_run_to_its_end() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path()).execution(execution).readers(1);
            let store = Store::create(config).await.unwrap();
            for (name, endless) in ENDLESS_CALLS {
                // Again and again, so that some are dropped before the statement has begun, and some in its midst.
                for at in (1..12).chain(1..12) {
                    let dropped = timeout(
                        Duration::from_millis(10),
                        cut(at, Moment::AtOnce, endless(&store)),
                    );
                    if let Ok(Some(ended)) = dropped.await {
                        panic!("{name} ended: {ended:?}");
                    }
                    serves(&store, 1).await;
                }
            }
            assert!(store.half_items().await.unwrap().is_empty());
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_tokio_timeout_around_a_call_gives_elapsed_and_frees_the_lock() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path()).execution(execution).readers(1);
            let store = Store::create(config).await.unwrap();
            for (name, endless) in ENDLESS_CALLS {
                assert!(
                    timeout(Duration::from_millis(20), endless(&store))
                        .await
                        .is_err(),
                    "{name}"
                );
                serves(&store, 1).await;
            }
            assert!(store.half_items().await.unwrap().is_empty());
            store.close().await.unwrap();
        }
    });
}

#[test]
fn the_timeout_of_a_method_interrupts_its_statement_and_rolls_back() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for _ in 0..3 {
                let error = within(store.endless_with_timeout()).await.unwrap_err();
                assert!(
                    matches!(
                        error,
                        Error::Timeout {
                            method: "endless_with_timeout",
                            ..
                        }
                    ),
                    "{error}"
                );
                serves(&store, 1).await;
            }
            assert!(store.half_items().await.unwrap().is_empty());
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_interrupt_never_hits_the_statement_of_the_next_user() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(config(directory.path()).readers(1))
            .await
            .unwrap();
        for round in 0..300 {
            let (sender, mut running) = mpsc::unbounded_channel();
            let write = round % 2 == 0;
            let mut dropped: Pin<Box<dyn Future<Output = Result<i64>> + Send>> = if write {
                Box::pin(store.endless_write_telling(sender))
            } else {
                Box::pin(store.endless_read_telling(sender))
            };
            tokio::select! {
                ended = &mut dropped => panic!("{ended:?}"),
                told = running.recv() => told.unwrap(),
            }
            // Two are waiting already when the interrupt is sent.
            let next: Vec<_> = (0..2)
                .map(|_| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        if write {
                            store.add_by_new_text(next_item()).await
                        } else {
                            store.halves_by_new_text(next_item()).await.map(drop)
                        }
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            drop(dropped);
            for next in next {
                within(next)
                    .await
                    .unwrap()
                    .unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
        }
        store.close().await.unwrap();
    });
}

/// Short statements end by themselves at about the moment at which they are interrupted.
#[test]
fn an_interrupt_that_comes_too_late_hits_nobody() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path())
            .readers(1)
            .execution(Execution::Offload);
        let store = Store::create(config).await.unwrap();
        for round in 0..400 {
            let mut dropped = Box::pin(store.halves_by_new_text(round));
            let mut dropped_write = Box::pin(store.add_by_new_text(next_item()));
            for _ in 0..=round % 4 {
                let (read, write) = (
                    poll_once(&mut dropped).await,
                    poll_once(&mut dropped_write).await,
                );
                if read.is_ready() || write.is_ready() {
                    break;
                }
                for _ in 0..(round % 7) * 50 {
                    std::hint::spin_loop();
                }
            }
            drop((dropped, dropped_write));
            within(store.halves_by_new_text(-round)).await.unwrap();
            within(store.add_by_new_text(next_item())).await.unwrap();
        }
        assert!(store.half_items().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}
