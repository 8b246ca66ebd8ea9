//! The same methods on PostgreSQL: several machines, and one history.

#[path = "../../../../dbm-postgres/tests/support/mod.rs"]
mod support;

use std::str::FromStr;

use dbm_core::prelude::*;
use dbm_core::testing::run_due_jobs;
use proc_macro2::{TokenStream, TokenTree};
use tokio::time::timeout;

use super::{Event, EventKind, Receiver, Slot, Store};
use crate::metric::Metric;
use crate::sampler::Reading;
use crate::settings::Retention;
use crate::span::Span;
use support::{LIMIT, shared};

/// A machine's name, and its store.
fn open(description: &str, host: &str) -> std::sync::Arc<Store> {
    let config = dbm_postgres::config(description).unwrap().job_workers(0);
    let keep = Retention {
        samples: Span::hours(1),
        ..Retention::default()
    };
    Store::open(config, keep, Vec::new(), Some(host.to_owned()))
}

/// What one machine goes through, and what is known of it in the end.
async fn live(store: &Store, cpu: f64) -> (Vec<Slot>, Vec<(i64, String, Option<i64>)>) {
    let rule = "memory > 80 for 20s".parse().unwrap();
    store.add_rule(&rule, "ada", 5).await.unwrap();
    assert!(store.add_admin("ada", "console", 5).await.is_ok());
    assert!(store.add_watch("nginx", 7).await.unwrap());
    assert!(!store.add_watch("nginx", 7).await.unwrap());
    let mut told = Vec::new();
    for (at, memory) in [
        (60, 20.0),
        (3_600, 97.0),
        (3_610, 98.5),
        (3_620, 98.0),
        (7_300, 20.0),
    ] {
        let reading = Reading::of(at, [("cpu", cpu + at as f64 / 1e5), ("memory", memory)]);
        told.extend(store.weigh(&reading).await);
        if at == 3_620 {
            let memory = "memory".parse().unwrap();
            let seen = store
                .acknowledge(None, Some(&memory), "ada", at)
                .await
                .unwrap();
            assert_eq!(seen.len(), 1);
        }
        store.roll_up().await.unwrap();
    }
    let told: Vec<_> = told.iter().map(|event: &Event| event.what).collect();
    assert_eq!(told, [EventKind::Raised, EventKind::Cleared]);
    known(store).await
}

async fn known(store: &Store) -> (Vec<Slot>, Vec<(i64, String, Option<i64>)>) {
    let metric: Metric = "cpu".parse().unwrap();
    assert!(store.knows(&metric).await.unwrap() && store.is_admin("ada").await);
    assert_eq!(store.last_sample().await.unwrap(), Some(7_300));
    assert!(store.rule_state().await.unwrap().open().next().is_none());
    let alerts = store.alerts(None, 10).await.unwrap().into_iter();
    let alerts = alerts.map(|alert| (alert.id, alert.metric, alert.acknowledged_at));
    let history = store.history(&metric, 0, 7_300, 4).await.unwrap();
    (history, alerts.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_share_a_server_and_each_knows_what_it_would_know_in_a_file() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let test = async {
        let description = database.description();
        let (one, other) = (open(&description, "one"), open(&description, "other"));
        let (of_one, of_other) = tokio::join!(live(&one, 10.0), live(&other, 50.0));
        for (cpu, here) in [(10.0, &of_one), (50.0, &of_other)] {
            let keep = Retention {
                samples: Span::hours(1),
                ..Retention::default()
            };
            let file = Store::in_memory(keep);
            assert_eq!(&live(&file, cpu).await, here);
        }
        assert_eq!(of_one.0.iter().map(|slot| slot.count).sum::<u64>(), 5);
        let rolled_up =
            "SELECT count(*) > 0 FROM minute JOIN metric ON id = metric_id WHERE host = 'one'";
        assert_eq!(database.ask(rolled_up), "t");
        assert_eq!(one.facts().await.unwrap().system, "PostgreSQL");
        one.forget().await.unwrap();
        for store in [one, other] {
            store.close().await.unwrap();
        }
        // And after a restart.
        let (one, other) = (open(&description, "one"), open(&description, "other"));
        assert_eq!(known(&one).await, of_one);
        assert_eq!(known(&other).await, of_other);
        assert!(one.remove_watch("nginx").await.unwrap());
        assert_eq!(
            other.watches().await.unwrap().len(),
            1,
            "a watch is of one machine"
        );
        let bad = Reading::of(8_000, [("memory", 97.0)]);
        for store in [&one, &other] {
            assert_eq!(store.weigh(&bad).await.len(), 1, "so is an alert");
            assert_eq!(store.open_alerts().await.0.len(), 1);
        }
        let new = open(&description, "new");
        assert!(new.alerts(None, 10).await.unwrap().is_empty());
        let cpu = "cpu".parse().unwrap();
        assert!(!new.knows(&cpu).await.unwrap());
        for store in [one, other, new] {
            store.close().await.unwrap();
        }
    };
    timeout(LIMIT, test).await.expect("it hangs");
}

#[tokio::test]
async fn a_message_names_the_machine_of_its_alert_whoever_sends_it() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let test = async {
        let (send, mut sent) = tokio::sync::mpsc::unbounded_channel();
        let receivers = || {
            let send = send.clone();
            let tell = move |event: Event| {
                send.send(event.alert.host).unwrap();
                std::future::ready(Ok(()))
            };
            vec![Receiver::new("chat", tell)]
        };
        let open = |host: &str| {
            let config = dbm_postgres::config(&database.description()).unwrap();
            Store::open(
                config.job_workers(0),
                Retention::default(),
                receivers(),
                Some(host.to_owned()),
            )
        };
        let (one, other) = (open("one"), open("other"));
        one.weigh(&Reading::of(10, [("memory", 97.0)])).await;
        // One without this receiver leaves it to others.
        let stranger = self::open(&database.description(), "stranger");
        stranger.deliver("chat".to_owned(), 1).await.unwrap_err();
        run_due_jobs(&other).await.unwrap();
        assert_eq!(sent.try_recv().unwrap(), "one");
        assert!(one.untold("chat", i64::MAX).await.unwrap().is_empty());
        for store in [one, other, stranger] {
            store.close().await.unwrap();
        }
    };
    timeout(LIMIT, test).await.expect("it hangs");
}

#[tokio::test]
async fn every_statement_is_one_of_postgresql_too() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = open(&database.description(), "one");
    store.ensure_ready().await.unwrap();
    store.close().await.unwrap();
    let mut statements = 0;
    for source in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap() {
        let path = source.unwrap().path();
        if path.extension() != Some("rs".as_ref()) || path.ends_with("on_server.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let mut texts = Vec::new();
        literals(TokenStream::from_str(&source).unwrap(), &mut texts);
        for sql in texts
            .iter()
            .filter(|text| is_sql(text) && !text.contains("sqlite_version"))
        {
            // All parameters have numbers.
            let prepared = server.psql(
                &database.name,
                &format!("PREPARE it AS {}", sql.replace('?', "$")),
            );
            let told = String::from_utf8_lossy(&prepared.stderr).into_owned();
            assert!(
                prepared.status.success(),
                "{}: {sql}\n{told}",
                path.display()
            );
            statements += 1;
        }
    }
    assert!(statements > 40, "{statements} were found");
}

fn is_sql(text: &str) -> bool {
    let verb = text.split_whitespace().next();
    verb.is_some_and(|verb| ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb))
}

/// The texts in a source, but for those of its tests.
fn literals(tokens: TokenStream, found: &mut Vec<String>) {
    let mut before = [String::new(), String::new()];
    for token in tokens {
        match &token {
            TokenTree::Group(_) if before == ["mod", "tests"] => {}
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                found.extend(text.ok().map(|text| text.value()));
            }
            _ => {}
        }
        before = [std::mem::take(&mut before[1]), token.to_string()];
    }
}
