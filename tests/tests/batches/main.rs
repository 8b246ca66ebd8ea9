//! Group commit: waiting writers share a transaction. Nobody is told before its COMMIT, and whatever becomes of one
//! call costs its companions nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod alone;
mod commits;
mod companions;
mod deferred;
mod joiners;
mod rollbacks;
mod stalls;
mod storm;
mod unwrapped;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{poll_once, within};
use futures_util::future::join_all;
use tokio::sync::Notify;

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Items of two halves: an item with one half is half a write.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    extra: &'static str,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE half (item INTEGER, side INTEGER, PRIMARY KEY (item, side)) STRICT;
             CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent) STRICT",
        )
        .await?;
        db.execute_batch(self.extra).await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

const ADD: &str = "INSERT INTO half (item, side) VALUES (?1, ?2)";

async fn add_both(db: &mut WriteTransaction, item: i64) -> Result<()> {
    db.execute(ADD, (item, 1)).await?;
    db.execute(ADD, (item, 2)).await?;
    Ok(())
}

// Each hazard has a method of its own: what a method does once, the library remembers of it.

impl Store {
    async fn new(config: Config) -> Arc<Self> {
        Self::with(config, "").await
    }

    async fn with(config: Config, extra: &'static str) -> Arc<Self> {
        let store = Self::create_with(config, |core| Self { core, extra })
            .await
            .unwrap();
        // A method shares a transaction only after it has run well a few times.
        for _ in 0..5 {
            store.add(next_item()).await.unwrap();
        }
        store
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        add_both(db, item).await
    }

    #[database_safe]
    async fn halves(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one("SELECT count(*) FROM half WHERE item = ?1", (item,))
            .await
    }

    #[database_safe]
    async fn all_halves(&self, db: &mut ReadTransaction) -> Result<Vec<(i64, i64)>> {
        db.query("SELECT item, count(*) FROM half GROUP BY item", ())
            .await
    }

    /// Has the writer until the test lets go.
    #[database_safe]
    async fn hold(
        &self,
        _db: &mut WriteTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        inside.notify_one();
        release.notified().await;
        Ok(())
    }
}

fn next_item() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Keeps the writer busy while `calls` queue up in this order, then lets them run together.
async fn together<'a>(store: &'a Store, mut calls: Vec<Call<'a>>) -> Vec<Result<()>> {
    let holder = queue_up(store, &mut calls).await;
    holder.let_go().await;
    within(join_all(calls)).await
}

struct Holder<'a> {
    release: Arc<Notify>,
    call: Call<'a>,
}

impl Holder<'_> {
    async fn let_go(self) {
        self.release.notify_one();
        within(self.call).await.unwrap();
    }
}

async fn queue_up<'a>(store: &'a Store, calls: &mut [Call<'a>]) -> Holder<'a> {
    let (inside, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut call: Call<'a> = {
        let (inside, release) = (Arc::clone(&inside), Arc::clone(&release));
        Box::pin(async move { store.hold(&inside, &release).await })
    };
    tokio::select! {
        result = &mut call => panic!("{result:?}"),
        () = inside.notified() => {}
    }
    for call in calls {
        assert!(poll_once(call).await.is_pending());
    }
    Holder { release, call }
}

fn config(directory: &Path, execution: Execution) -> Config {
    Config::new(directory)
        .durability(Durability::Normal)
        .execution(execution)
}

/// Every way to run, each with a store of its own.
async fn everywhere(extra: &'static str, test: impl AsyncFn(Arc<Store>)) {
    for execution in EXECUTIONS {
        let store = Store::with(Config::in_memory().execution(execution), extra).await;
        test(Arc::clone(&store)).await;
        let item = next_item();
        within(store.add(item)).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
        let halves = store.all_halves().await.unwrap();
        assert!(
            halves.iter().all(|(_, count)| *count == 2),
            "half a write: {halves:?}"
        );
        within(store.close()).await.unwrap();
    }
}

impl Store {
    #[database_safe]
    async fn fail_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        fail: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        if fail {
            return Err(Error::other("undone"));
        }
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn nest(&self, db: &mut WriteTransaction, item: i64, fail: bool) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert!(self.fail_now_and_then(-item, true).await.is_err());
        self.nested_half(item).await?;
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn nested_half(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// The culprit between two companions: they are told Ok, or that they can try again, never that of the culprit.
async fn alone_guilty<'a>(store: &'a Store, culprit: Call<'a>, may_lose: bool) -> Error {
    let items = [next_item(), next_item()];
    let calls: Vec<Call<'_>> = vec![
        Box::pin(store.add(items[0])),
        culprit,
        Box::pin(store.add(items[1])),
    ];
    let mut results = together(store, calls).await;
    let error = results.remove(1).unwrap_err();
    for (item, result) in items.into_iter().zip(results) {
        let expected = match result {
            Ok(()) => 2,
            Err(Error::BatchLost { .. }) if may_lose => 0,
            Err(other) => panic!("a companion got: {other}"),
        };
        assert_eq!(store.halves(item).await.unwrap(), expected);
    }
    error
}

impl Store {
    #[database_safe]
    async fn change_schema(&self, db: &mut WriteTransaction, sql: &'static str) -> Result<()> {
        db.execute_batch(sql).await
    }
}
