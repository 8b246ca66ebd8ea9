//! What is told along the way.

use dbm_core::prelude::*;
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::{Store, listen, listen_from, store};

#[test]
fn every_call_tells_when_it_returns_and_whether_it_went_well() {
    listen(async |listener| {
        let store = store().await;
        store.write(4711).await.unwrap();
        store.fail().await.unwrap_err();
        store.panic().await.unwrap_err();
        for (method, ok) in [("write", "true"), ("fail", "false"), ("panic", "false")] {
            let events = listener.events(method);
            let returned: Vec<_> = events
                .iter()
                .filter(|event| event.level == Level::DEBUG)
                .collect();
            assert_eq!(returned.len(), 1, "{events:?}");
            assert_eq!(returned[0].name, "call returned");
            assert_eq!(returned[0].fields["ok"], ok);
            assert_eq!(returned[0].inside, [method], "in the span of the call");
            assert!(
                events.iter().all(|event| event.level >= Level::DEBUG),
                "nothing louder: {events:?}"
            );
        }
        store.close().await.unwrap();
    });
}

#[test]
fn only_timed_calls_tell_their_times() {
    listen(async |listener| {
        let store = store().await;
        store.write(1).await.unwrap();
        store.outer().await.unwrap();
        assert_eq!(store.timed_alone(4711).await, 4711);
        let finished = |method: &str| {
            let events = listener.events(method);
            events
                .into_iter()
                .filter(|event| event.name == "call finished")
                .collect::<Vec<_>>()
        };
        assert!(finished("write").is_empty());
        for method in ["outer", "inner"] {
            let finished = finished(method);
            assert_eq!(finished.len(), 1);
            assert_eq!(finished[0].level, Level::TRACE);
            for field in ["elapsed_ms", "waited_ms"] {
                let milliseconds: f64 = finished[0].fields[field].parse().unwrap();
                assert!((0.0..60_000.0).contains(&milliseconds));
            }
        }
        let alone = finished("timed_alone");
        assert_eq!(alone.len(), 1);
        assert!(alone[0].fields.contains_key("elapsed_ms"));
        let returned = listener.events("timed_alone");
        assert!(returned.iter().any(|event| event.level == Level::DEBUG));
        store.close().await.unwrap();
    });
}

#[test]
fn only_a_slow_call_is_a_warning() {
    listen(async |listener| {
        let store = store().await;
        store.slow().await.unwrap();
        store.outer().await.unwrap();
        let warnings = |method: &str| {
            let events = listener.events(method);
            events
                .into_iter()
                .filter(|event| event.level == Level::WARN)
                .collect::<Vec<_>>()
        };
        let slow = warnings("slow");
        assert_eq!(slow.len(), 1);
        assert!(slow[0].fields["elapsed_ms"].parse::<f64>().unwrap() >= 5.0);
        assert_eq!(slow[0].fields["slow_ms"].parse::<f64>().unwrap(), 1.0);
        assert!(warnings("inner").is_empty() && warnings("outer").is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_slow_call_is_a_warning_where_nothing_less_is_listened_to() {
    listen_from(LevelFilter::WARN, async |listener| {
        let store = store().await;
        store.slow().await.unwrap();
        assert_eq!(listener.events("slow").len(), 1);
        store.close().await.unwrap();
    });
}

#[test]
fn a_swallowed_failure_is_an_error_with_its_cause_and_no_other_is() {
    listen(async |listener| {
        let store = store().await;
        assert_eq!(store.swallow().await, 0);
        let (zero, cause) = store.swallow_half().await;
        assert_eq!(zero, 0);
        assert!(cause.unwrap().is_unique_violation());
        for method in ["swallow", "swallow_half"] {
            let events = listener.events(method);
            let errors: Vec<_> = events
                .iter()
                .filter(|event| event.level == Level::ERROR)
                .collect();
            assert_eq!(errors.len(), 1, "{events:?}");
            assert_eq!(
                errors[0].fields["cause"],
                format!("{method}: UNIQUE constraint failed: number.n")
            );
        }
        store.fail().await.unwrap_err();
        assert!(
            listener
                .events("fail")
                .iter()
                .all(|event| event.level != Level::ERROR)
        );
        store.close().await.unwrap();
        assert_eq!(store.swallow().await, 0);
        let closed = listener
            .events("swallow")
            .into_iter()
            .filter(|event| event.level == Level::ERROR)
            .nth(1);
        assert_eq!(
            closed.unwrap().fields["cause"],
            "swallow: the database is closed"
        );
    });
}

#[test]
fn the_life_of_a_manager_is_told() {
    listen(async |listener| {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let store = Store::create(config.clone()).await.unwrap();
        let running = listener.event("database running");
        assert_eq!(running.level, Level::INFO);
        assert!(running.fields["path"].ends_with("database.db"));
        store.write(1).await.unwrap();
        drop(store);
        assert_eq!(listener.event("dropped without close").level, Level::WARN);

        let store = Store::create(config.clone().version(Version::new(2, 0, 0)))
            .await
            .unwrap();
        let migrated = listener.event("database migrated");
        assert_eq!(
            (migrated.level, migrated.fields["from"].as_str()),
            (Level::INFO, "1.0.0")
        );
        assert_eq!(migrated.fields["to"], "2.0.0");
        store.close().await.unwrap();

        let store = Store::start(config);
        let cause = store.ensure_ready().await.unwrap_err();
        let failed = listener.event("database failed to start");
        assert_eq!(
            (failed.level, &failed.fields["cause"]),
            (Level::ERROR, &cause.to_string())
        );
    });
}
