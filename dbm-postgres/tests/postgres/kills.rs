//! A server, or a process of it, that is killed while calls write: what was acknowledged is there, and what has failed is not.

use std::sync::Arc;
use std::time::Duration;

use crate::support::load::{Load, Store, check};
use crate::support::{Database, Server};
use crate::{WAYS, within};
use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};

async fn stores(database: &Database<'_>, count: usize, writers: Writers) -> Vec<Arc<Store>> {
    let mut stores = Vec::new();
    for _ in 0..count {
        let postgres = Postgres::new(&database.description())
            .unwrap()
            .writers(writers);
        let config = Config::from(postgres).acquire_timeout(Duration::from_secs(20));
        stores.push(Store::create(config).await.unwrap());
    }
    stores
}

async fn kill_the_server(writers: Writers) {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let database = server.database();
    let stores = stores(&database, 2, writers).await;
    let load = Load::start(&stores, 16);
    for round in 0..5 {
        // Each time at another moment of a call.
        load.progress(50 + 7 * round).await;
        server.kill();
        server.run();
    }
    load.progress(50).await;
    let outcomes = load.end().await;
    check(
        |sql| database.ask(sql),
        &outcomes,
        &format!("kill -9 of the server, {writers:?}"),
    );
    assert!(
        outcomes.unknown.is_empty(),
        "the server was there again, so each outcome can be told"
    );
    for store in stores {
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    within(async {
        for writers in WAYS {
            kill_the_server(writers).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_process_of_the_server_loses_nothing_that_was_acknowledged() {
    within(async {
        let Some(server) = Server::start(&[]) else { return };
        for writers in WAYS {
            let database = server.database();
            let stores = stores(&database, 2, writers).await;
            let load = Load::start(&stores, 16);
            for _ in 0..20 {
                load.progress(20).await;
                database.ask(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'dbm' \
                     AND datname = current_database() AND random() < 0.5",
                );
            }
            load.progress(50).await;
            let outcomes = load.end().await;
            check(|sql| database.ask(sql), &outcomes, &format!("terminated processes, {writers:?}"));
            assert!(outcomes.unknown.is_empty());
            for store in stores {
                store.close().await.unwrap();
            }
        }
    })
    .await;
}

/// The server restarts all of its processes when one of them dies without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_the_server_that_crashes_loses_nothing_that_was_acknowledged() {
    within(async {
        let Some(server) = Server::start(&[]) else { return };
        let database = server.database();
        let stores = stores(&database, 2, Writers::Sharing).await;
        let load = Load::start(&stores, 16);
        for round in 0..5 {
            load.progress(50 + 7 * round).await;
            let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'dbm' AND state <> 'idle' LIMIT 1";
            let process = database.ask(sql);
            crate::support::kill("-KILL", (!process.is_empty()).then_some(process));
            while !server.psql("postgres", "SELECT 1").status.success() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        load.progress(50).await;
        let outcomes = load.end().await;
        check(|sql| database.ask(sql), &outcomes, "crashed processes");
        assert!(outcomes.unknown.is_empty());
        for store in stores {
            store.close().await.unwrap();
        }
    })
    .await;
}
