//! From Starting to Stopped or Failed: the status goes forward only, close drains, nothing is left over.

#![allow(clippy::unwrap_used, clippy::panic)]

mod close;
mod close_within;
mod inside;
mod runtimes;
#[cfg(unix)]
mod signals;
mod status;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{
    Dice, Hooks, LIMIT, Stalled, Store, eventually, logged, names, open_files, run,
    run_on_one_thread, waits, watch, within,
};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
    INSERT INTO line (text) SELECT CAST(x AS TEXT) FROM n";

/// Lines in the order in which they were written, and moments at which a test can hold the manager up.
#[derive(DbManager, Debug)]
#[db_manager(version = "1.0.0")]
struct Diary {
    core: ManagerCore,
    holds_init: AtomicBool,
    arrived: Notify,
    go_on: Notify,
}

impl Schema for Diary {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE line (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT) STRICT",
        )
        .await?;
        if self.holds_init.load(Ordering::Relaxed) {
            self.wait_here().await;
        }
        Ok(())
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Diary {
    fn held_in_init(config: Config) -> Arc<Self> {
        let diary = |core| Self {
            core,
            holds_init: true.into(),
            arrived: Notify::new(),
            go_on: Notify::new(),
        };
        Self::start_with(config, diary)
    }

    async fn wait_here(&self) {
        self.arrived.notify_one();
        self.go_on.notified().await;
    }

    #[database_safe]
    async fn append(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        db.execute("INSERT INTO line (text) VALUES (?1)", (text,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn append_held(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        db.execute("INSERT INTO line (text) VALUES (?1)", (text,))
            .await?;
        self.wait_here().await;
        Ok(())
    }

    #[database_safe]
    async fn lines(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT text FROM line ORDER BY number", ()).await
    }

    #[database_safe]
    async fn never_ends_reading(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn never_ends_writing(&self, db: &mut WriteTransaction) -> Result<usize> {
        self.arrived.notify_one();
        db.execute(ENDLESS_WRITE, ()).await
    }

    #[database_safe]
    async fn never_ends_reading_once(
        &self,
        db: &mut ReadTransaction,
        begins: mpsc::Sender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            begins.send(()).map_err(Error::other)?;
            Ok(c.query_row(ENDLESS, (), |row| row.get(0))?)
        })
        .await
    }

    /// Keeps the writer's thread until the test lets go.
    #[database_safe]
    async fn blocks(
        &self,
        db: &mut WriteTransaction,
        inside: oneshot::Sender<()>,
        go_on: mpsc::Receiver<()>,
    ) -> Result<()> {
        db.call(move |_| {
            let _ = inside.send(());
            go_on.recv().map_err(Error::other)
        })
        .await
    }

    #[database_safe]
    async fn closes(&self, _db: &mut ReadTransaction) -> Result<()> {
        self.close().await
    }

    #[database_safe]
    async fn closes_within(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.close_within(Duration::ZERO).await
    }

    #[database_safe]
    async fn waits_until_ready(&self, _db: &mut Connection) -> Result<()> {
        self.ensure_ready().await
    }

    #[database_safe]
    async fn sets_version(
        &self,
        _db: &mut WriteTransaction,
        version: &Version,
        keeps: bool,
    ) -> Result<Version> {
        self.update_version(version).await?;
        let seen = self.get_version().await?;
        if keeps {
            Ok(seen)
        } else {
            Err(Error::other(seen.to_string()))
        }
    }
}

async fn diary() -> Arc<Diary> {
    Diary::create(Config::in_memory()).await.unwrap()
}

/// Runs a call in a task of its own.
fn call<T: Send + 'static, F: Future<Output = T> + Send>(
    diary: &Arc<Diary>,
    call: impl FnOnce(Arc<Diary>) -> F + Send + 'static,
) -> JoinHandle<T> {
    let diary = Arc::clone(diary);
    tokio::spawn(async move { call(diary).await })
}

/// A call that has the writer and keeps it.
async fn held(diary: &Arc<Diary>) -> JoinHandle<Result<()>> {
    let holder = call(
        diary,
        |diary| async move { diary.append_held("held").await },
    );
    within(diary.arrived.notified()).await;
    holder
}

/// Calls that wait for the writer, in this order.
async fn queued(diary: &Arc<Diary>, texts: &[&'static str]) -> Vec<JoinHandle<Result<()>>> {
    let mut calls = Vec::new();
    for text in texts.iter().copied() {
        let (sender, is_queued) = oneshot::channel();
        calls.push(call(diary, move |diary| async move {
            let mut append = Box::pin(diary.append(text));
            assert!(waits(&mut append).await);
            sender.send(()).unwrap();
            append.await
        }));
        is_queued.await.unwrap();
    }
    calls
}
