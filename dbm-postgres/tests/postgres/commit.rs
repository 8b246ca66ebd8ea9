//! A COMMIT whose answer does not come: the call tells the truth, or that nobody knows it.

use std::time::Duration;

use crate::support::proxy::{Fate, Proxy};
use crate::support::{LIMIT, Server, shared};
use crate::{WAYS, within};
use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY)")
            .await
    }
}

impl Store {
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        Ok(())
    }
}

fn config(description: &str, writers: Writers, patience: Duration) -> Config {
    let postgres = Postgres::new(description).unwrap();
    Config::from(postgres.writers(writers).patience(patience))
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_acknowledged() {
    let Some(server) = shared() else { return };
    within(async {
        for writers in WAYS {
            let database = server.database();
            let proxy = Proxy::start(server.directory(), None);
            let description = database.behind(proxy.directory());
            let store = Store::create(config(&description, writers, LIMIT))
                .await
                .unwrap();
            proxy.set(Fate::AnswerIsLost);
            store.insert(1).await.unwrap();
            // Also the very first one, with which the table of commits comes.
            assert_eq!(database.ask("SELECT id FROM item"), "1");
            store.insert(2).await.unwrap();
            store.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_a_definite_error() {
    let Some(server) = shared() else { return };
    within(async {
        for writers in WAYS {
            let database = server.database();
            let proxy = Proxy::start(server.directory(), None);
            let description = database.behind(proxy.directory());
            let store = Store::create(config(&description, writers, LIMIT))
                .await
                .unwrap();
            proxy.set(Fate::NeverArrives);
            let error = store.insert(1).await.unwrap_err();
            assert!(matches!(error, Error::Disconnected { .. }), "{error}");
            assert!(error.is_retryable());
            assert_eq!(database.ask("SELECT count(*) FROM item"), "0");
            store.insert(1).await.unwrap();
            store.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_nobody_can_ask_about_is_unknown_once_the_patience_is_over() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let proxy = Proxy::start(server.directory(), None);
        let description = database.behind(proxy.directory());
        let patience = Duration::from_millis(500);
        let store = Store::create(config(&description, Writers::Sharing, patience))
            .await
            .unwrap();
        proxy.set(Fate::ThenUnreachable);
        let error = store.insert(1).await.unwrap_err();
        assert!(matches!(error, Error::CommitUnknown { .. }), "{error}");
        proxy.set(Fate::Passes);
        store.insert(2).await.unwrap();
        assert_eq!(database.ask("SELECT count(*) FROM item"), "2");
        store.close().await.unwrap();
    })
    .await;
}

/// The server has committed, and says so, but the standby that it has to wait for does not have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_on_commit_is_no_acknowledgement() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    within(async {
        let database = server.database();
        let patience = Duration::from_secs(3);
        let config = config(&database.description(), Writers::Sharing, patience);
        let store = Store::create(config).await.unwrap();
        database.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        database.ask("SELECT pg_reload_conf()");
        // The first ones may be committed before the server has read its configuration.
        let calls = tokio::spawn(async move {
            let mut ids = 1..;
            loop {
                if let Err(error) = store.insert(ids.next().unwrap()).await {
                    return (store, error);
                }
            }
        });
        while !calls.is_finished() {
            database.ask(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
            );
        }
        let (store, error) = calls.await.unwrap();
        assert!(matches!(error, Error::CommitUnknown { .. }), "{error}");
        database.ask("ALTER SYSTEM RESET synchronous_standby_names");
        database.ask("SELECT pg_reload_conf()");
        store.insert(0).await.unwrap();
        store.close().await.unwrap();
    })
    .await;
}
