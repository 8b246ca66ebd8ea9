//! Who listens to the events may panic in the middle of one: that costs nobody else anything.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Debug;
use std::sync::{Arc, Once};

use dbm_core::Durability;
use dbm_core::prelude::*;
use dbm_tests::{run, run_on_one_thread, within};
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Panics at each event that is not of a single call.
struct Panics;

impl<S: Subscriber> Layer<S> for Panics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        assert!(*event.metadata().level() > Level::INFO, "as asked");
    }
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let listener = tracing_subscriber::registry().with(Panics);
        listener.with(LevelFilter::INFO).init();
    });
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE entry (number INTEGER PRIMARY KEY, padding BLOB)")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Store {
    /// Writes the same pages again and again, so that only the log grows.
    #[database_safe]
    async fn rewrite(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO entry VALUES (1, randomblob(1000000))";
        db.execute(sql, ()).await?;
        Ok(())
    }

    /// Keeps a snapshot from `began` until `end`.
    #[database_safe]
    async fn read_long(
        &self,
        db: &mut ReadTransaction,
        began: oneshot::Sender<()>,
        end: oneshot::Receiver<()>,
    ) -> Result<()> {
        let _: i64 = db.query_one("SELECT count(*) FROM entry", ()).await?;
        let _ = began.send(());
        let _ = end.await;
        Ok(())
    }
}

#[test]
fn a_listener_that_panics_keeps_nobody_from_starting_migrating_and_closing() {
    listen();
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        for version in [Version::new(1, 0, 0), Version::new(2, 0, 0)] {
            let config = config.clone().version(version);
            let store = within(Store::create(config.clone())).await.unwrap();
            store.rewrite().await.unwrap();
            within(store.close()).await.unwrap();
            assert_eq!(store.status(), Status::Stopped);
            drop(Store::create(config).await.unwrap());
        }
        let store = Store::start(config);
        within(store.ensure_ready()).await.unwrap_err();
        assert_eq!(store.status(), Status::Failed);
    });
}

#[test]
fn a_listener_that_panics_costs_nobody_the_writer() {
    listen();
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path()).durability(Durability::Off);
        let store = Store::create(config).await.unwrap();
        let ((began, has_begun), (end, is_over)) = (oneshot::channel(), oneshot::channel());
        let reader = Arc::clone(&store);
        let reading = tokio::spawn(async move { reader.read_long(began, is_over).await });
        within(has_begun).await.unwrap();
        // Until the log is so large that it is told who keeps it from shrinking.
        for _ in 0..50 {
            within(store.rewrite()).await.unwrap();
        }
        drop(end);
        within(reading).await.unwrap().unwrap();
        within(store.close()).await.unwrap();
    });
}

/// Panics at one event of a call.
struct PanicsAt(&'static str);

impl<S: Subscriber> Layer<S> for PanicsAt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        assert!(message.0 != self.0, "as asked");
    }
}

#[test]
fn a_listener_that_panics_in_a_call_costs_the_next_one_nothing() {
    run_on_one_thread(async {
        for event in ["lock acquired", "call returned"] {
            let store = Store::create(Config::in_memory()).await.unwrap();
            for _ in 0..5 {
                store.rewrite().await.unwrap();
            }
            let calls: Vec<_> = (0..3)
                .map(|_| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { store.rewrite().await })
                })
                .collect();
            {
                let listener = tracing_subscriber::registry().with(PanicsAt(event));
                let _listening = tracing::subscriber::set_default(listener);
                for call in calls {
                    assert!(within(call).await.unwrap_err().is_panic());
                }
            }
            within(store.rewrite()).await.unwrap();
            within(store.close()).await.unwrap();
        }
    });
}
