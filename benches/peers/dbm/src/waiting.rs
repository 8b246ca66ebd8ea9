//! Calls that wait, and are dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use dbm_core::prelude::*;
use harness::Result;
use tokio::sync::Semaphore;

use crate::Store;

/// As many as there are readers.
const HOLDERS: u32 = 4;

/// Tells when a body runs, and when it may end.
struct Held {
    inside: Semaphore,
    ends: Semaphore,
}

impl Held {
    async fn hold(&self) {
        self.inside.add_permits(1);
        let _ = self.ends.acquire().await;
    }
}

impl Store {
    #[database_safe]
    async fn hold_reader(&self, _db: &mut ReadTransaction, held: &Held) -> dbm_core::Result<()> {
        held.hold().await;
        Ok(())
    }

    #[database_safe]
    async fn hold_writer(&self, _db: &mut WriteTransaction, held: &Held) -> dbm_core::Result<()> {
        held.hold().await;
        Ok(())
    }
}

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

fn call(store: &Arc<Store>, write: bool) -> Call {
    let store = Arc::clone(store);
    Box::pin(async move {
        // Dropped before it runs.
        let _ = match write {
            true => store.add_item("a name", 42).await,
            false => store.item(1).await.map(drop),
        };
    })
}

pub(crate) async fn drop_waiting(
    store: &Arc<Store>,
    count: usize,
    write: bool,
) -> Result<Duration> {
    let held = Arc::new(Held {
        inside: Semaphore::new(0),
        ends: Semaphore::new(0),
    });
    let holders = if write { 1 } else { HOLDERS };
    let mut tasks = Vec::new();
    for _ in 0..holders {
        let (store, held) = (Arc::clone(store), Arc::clone(&held));
        tasks.push(tokio::spawn(async move {
            match write {
                true => store.hold_writer(&held).await,
                false => store.hold_reader(&held).await,
            }
        }));
    }
    let _inside = held.inside.acquire_many(holders).await?;
    let mut calls: Vec<Call> = (0..count).map(|_| call(store, write)).collect();
    for call in &mut calls {
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return Err("a call does not wait".into());
        }
    }
    if write {
        // The last one first.
        calls.reverse();
    }
    let began = Instant::now();
    drop(calls);
    let took = began.elapsed();
    held.ends.close();
    for task in tasks {
        task.await??;
    }
    Ok(took)
}
