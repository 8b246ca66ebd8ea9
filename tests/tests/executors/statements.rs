//! Waiting for statements; and the program's code that runs inside of one and comes back to its manager.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{run, within};
use serde::{Deserialize, Deserializer};
use tokio::runtime::Handle;

use super::Store;
use super::hostile::{Deed, Task, When, run_to_the_end};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

impl Store {
    /// Its statements are not known to be short, or closures.
    #[database_safe]
    async fn read_twice(&self, db: &mut ReadTransaction) -> Result<()> {
        let _: i64 = db.query_one("SELECT count(*) FROM number", ()).await?;
        db.call(|c| Ok(c.query_row("SELECT 1", (), |_| Ok(()))?))
            .await
    }
}

#[test]
fn whatever_the_executor_of_a_read_does_its_reader_goes_to_the_next() {
    run(async {
        for deed in Deed::ALL {
            for when in [When::Woken, When::Dropped] {
                let store = Store::new(Config::in_memory().readers(1)).await;
                for at in 1..20 {
                    let reads = || {
                        let store = Arc::clone(&store);
                        async move { store.read_twice().await }
                    };
                    let [task, another, behind] = [(); 3].map(|()| Task::new(reads()));
                    // The first one has the reader by its first poll.
                    let ran = run_to_the_end(&task, at, &store, (deed, when), &another);
                    let ((result, done), _, _) =
                        tokio::join!(ran, others(&another), others(&behind));
                    if let Some(result) = result {
                        result.unwrap();
                    }
                    if !done && at > 8 {
                        break;
                    }
                }
                store.still_works().await;
            }
        }
    });
}

async fn others(task: &Arc<Task>) {
    if let Some(result) = task.finish_anyhow().await {
        result.unwrap();
    }
}

/// Waits for a future where it is, as no closure should.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unparks(Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn is_refused(result: &Result<()>) -> bool {
    matches!(
        result,
        Err(Error::Nesting { .. } | Error::AcquireTimeout { .. } | Error::FromInside { .. })
    )
}

/// Whoever waits, waits for ever.
fn config(execution: Execution) -> Config {
    let for_ever = std::time::Duration::MAX;
    let config = Config::in_memory().execution(execution).readers(1);
    config.acquire_timeout(for_ever)
}

/// Everything that waits, from inside of a statement on the writer, or on the only reader.
fn comes_back(store: &Arc<Store>, on_writer: bool) {
    let reads = [
        block_on(store.count()).map(drop),
        block_on(store.get_version()).map(drop),
    ];
    let add = block_on(store.add(None));
    for read in reads {
        assert!(is_refused(&read) || (on_writer && read.is_ok()), "{read:?}");
    }
    assert!(is_refused(&add) || (!on_writer && add.is_ok()), "{add:?}");
    let lifecycle = [
        block_on(store.ensure_ready()),
        block_on(store.close()),
        block_on(store.close_within(std::time::Duration::ZERO)),
    ];
    for result in lifecycle {
        assert!(
            matches!(result, Err(Error::FromInside { .. })),
            "{result:?}"
        );
    }
    assert_eq!(store.status(), Status::Running);
}

impl Store {
    #[database_safe]
    async fn read_back(&self, db: &mut ReadTransaction, this: Arc<Self>) -> Result<()> {
        let handle = Handle::current();
        db.call(move |_| {
            let _runtime = handle.enter();
            comes_back(&this, false);
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn write_back(&self, db: &mut WriteTransaction, this: Arc<Self>) -> Result<()> {
        let handle = Handle::current();
        db.execute("INSERT INTO number VALUES (NULL)", ()).await?;
        db.call(move |_| {
            let _runtime = handle.enter();
            comes_back(&this, true);
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn connect_back(&self, db: &mut Connection, this: Arc<Self>) -> Result<()> {
        let handle = Handle::current();
        db.call(move |_| {
            let _runtime = handle.enter();
            comes_back(&this, true);
            Ok(())
        })
        .await
    }
}

#[test]
fn a_closure_that_calls_its_manager_is_refused_at_once() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(config(execution)).await;
            within(store.read_back(Arc::clone(&store))).await.unwrap();
            within(store.write_back(Arc::clone(&store))).await.unwrap();
            within(store.connect_back(Arc::clone(&store)))
                .await
                .unwrap();
            store.still_works().await;
        }
    });
}

static COMES_BACK_TO: Mutex<Option<(Arc<Store>, Handle, bool)>> = Mutex::new(None);

/// A row that calls the manager when it is made.
struct Row;

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer)?;
        let (store, handle, on_writer) = COMES_BACK_TO.lock().unwrap().clone().unwrap();
        let _runtime = handle.enter();
        comes_back(&store, on_writer);
        Ok(Self)
    }
}

impl Store {
    #[database_safe]
    async fn read_rows(&self, db: &mut ReadTransaction) -> Result<usize> {
        let rows: Vec<Row> = db.query("SELECT 1 UNION ALL SELECT 2", ()).await?;
        Ok(rows.len())
    }

    #[database_safe]
    async fn write_rows(&self, db: &mut WriteTransaction) -> Result<usize> {
        let sql = "INSERT INTO number VALUES (NULL), (NULL) RETURNING n";
        let rows: Vec<Row> = db.query(sql, ()).await?;
        Ok(rows.len())
    }
}

#[test]
fn a_row_that_calls_its_manager_when_it_is_made_is_refused_at_once() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(config(execution)).await;
            let comes_back = |on_writer| {
                let to = (Arc::clone(&store), Handle::current(), on_writer);
                *COMES_BACK_TO.lock().unwrap() = Some(to);
            };
            comes_back(false);
            assert_eq!(within(store.read_rows()).await.unwrap(), 2);
            comes_back(true);
            assert_eq!(within(store.write_rows()).await.unwrap(), 2);
            *COMES_BACK_TO.lock().unwrap() = None;
            store.still_works().await;
        }
    });
}

/// Of the program, and owned by a connection.
struct OnDrop(Arc<Store>, Handle, std::sync::mpsc::Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _runtime = self.1.enter();
        let results = [block_on(self.0.add(None)), block_on(self.0.close())];
        assert!(results.iter().all(is_refused), "{results:?}");
        let _ = self.2.send(());
    }
}

impl Store {
    /// Its connection goes when the call has ended.
    #[database_safe]
    async fn leave_a_hook(&self, db: &mut Connection, owned: OnDrop) -> Result<()> {
        db.call(move |c| {
            c.update_hook(Some(
                move |_: rusqlite::hooks::Action, _: &str, _: &str, _: i64| {
                    let _ = &owned;
                },
            ))?;
            Ok(())
        })
        .await
    }
}

#[test]
fn what_is_dropped_with_a_connection_may_call_its_manager() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(config(execution)).await;
            let (sender, dropped) = std::sync::mpsc::channel();
            let owned = OnDrop(Arc::clone(&store), Handle::current(), sender);
            within(store.leave_a_hook(owned)).await.unwrap();
            dropped.try_recv().unwrap();
            store.still_works().await;
        }
    });
}

/// It began outside, and would wait for what runs inside.
#[test]
fn a_call_that_waits_is_refused_inside_of_a_statement() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(config(execution)).await;
            within(store.finish_inside(Arc::clone(&store)))
                .await
                .unwrap();
            store.still_works().await;
        }
    });
}

impl Store {
    #[database_safe]
    async fn finish_inside(&self, db: &mut WriteTransaction, this: Arc<Self>) -> Result<()> {
        let queued = tokio::spawn(async move {
            let mut queued: std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> =
                Box::pin(async move { this.add(None).await });
            assert!(dbm_tests::poll_once(&mut queued).await.is_pending());
            queued
        });
        let queued = within(queued).await.map_err(Error::other)?;
        let handle = Handle::current();
        db.call(move |_| {
            let _runtime = handle.enter();
            assert!(is_refused(&block_on(queued)));
            Ok(())
        })
        .await
    }
}

/// Another manager is nobody's business.
#[test]
fn a_closure_may_call_another_manager() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(config(execution)).await;
            let other = Store::new(Config::in_memory()).await;
            within(store.add_to(Arc::clone(&other))).await.unwrap();
            assert_eq!(other.count().await.unwrap(), 1);
            other.still_works().await;
            store.still_works().await;
        }
    });
}

impl Store {
    #[database_safe]
    async fn add_to(&self, db: &mut ReadTransaction, other: Arc<Self>) -> Result<()> {
        let handle = Handle::current();
        db.call(move |_| {
            let _runtime = handle.enter();
            block_on(other.add(None))
        })
        .await
    }
}
