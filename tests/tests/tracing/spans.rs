//! The span of a call.

use std::collections::BTreeMap;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use tracing::Level;

use super::{Store, listen, store};

impl Store {
    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number", ()).await
    }

    #[database_safe]
    async fn tune(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }

    #[required_argument(a, b)]
    #[database_safe]
    async fn required(
        &self,
        _db: &mut ReadTransaction,
        a: Option<i64>,
        b: Option<i64>,
    ) -> Result<()> {
        assert!(a.is_some() || b.is_some());
        Ok(())
    }
}

#[test]
fn a_call_is_a_span_with_the_names_of_opentelemetry() {
    listen(async |listener| {
        let store = store().await;
        store.read().await.unwrap();
        store.write(4711).await.unwrap();
        store.tune().await.unwrap();
        for (method, operation) in [("read", "read"), ("write", "write"), ("tune", "connection")] {
            let mut span = listener.span(method);
            assert_eq!(span.level, Level::DEBUG);
            let namespace = span.fields.remove("code.namespace").unwrap();
            assert!(
                namespace.starts_with(env!("CARGO_CRATE_NAME")),
                "{namespace}"
            );
            let expected = [
                ("db.system.name", "sqlite"),
                ("db.namespace", "numbers.db"),
                ("db.operation.name", operation),
                ("db.query.summary", method),
                ("otel.name", method),
                ("otel.kind", "client"),
            ];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(
                span.fields,
                BTreeMap::from(expected),
                "these, and no argument"
            );
            assert_eq!(span.inside, [] as [&str; 0]);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_failed_call_tells_its_kind_and_the_code_of_sqlite() {
    listen(async |listener| {
        let store = store().await;
        store.fail().await.unwrap_err();
        let span = listener.span("fail");
        let code = rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY.to_string();
        assert_eq!(
            span.fields.get("error.type").map(String::as_str),
            Some("sqlite")
        );
        assert_eq!(span.fields.get("db.response.status_code"), Some(&code));

        store.panic().await.unwrap_err();
        assert_eq!(listener.span("panic").fields["error.type"], "panicked");
        assert!(
            !listener
                .span("panic")
                .fields
                .contains_key("db.response.status_code")
        );

        store.required(None, None).await.unwrap_err();
        assert_eq!(
            listener.span("required").fields["error.type"],
            "missing_argument"
        );

        store.close().await.unwrap();
        store.read().await.unwrap_err();
        assert_eq!(listener.span("read").fields["error.type"], "closed");
    });
}

#[test]
fn an_inner_call_is_a_span_inside_its_outer_one() {
    listen(async |listener| {
        let store = store().await;
        store.outer().await.unwrap();
        assert_eq!(listener.span("inner").inside, ["outer"]);
        let returned = listener
            .events("inner")
            .into_iter()
            .find(|event| event.name == "call returned");
        assert_eq!(returned.unwrap().inside, ["inner", "outer"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_call_that_is_dropped_ends_its_span_and_tells_no_return() {
    listen(async |listener| {
        let store = store().await;
        assert!(
            tokio::time::timeout(Duration::from_millis(5), store.wait())
                .await
                .is_err()
        );
        listener.span("wait");
        assert!(
            listener
                .events("wait")
                .iter()
                .all(|event| event.name != "call returned")
        );
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn wait(&self, _db: &mut WriteTransaction) -> Result<()> {
        std::future::pending().await
    }
}

/// Whatever a call is given, finds or returns: only these fields are ever told of it.
#[test]
fn no_field_holds_an_argument_a_row_or_a_result() {
    const KNOWN: [&str; 18] = [
        "cause",
        "code.namespace",
        "db.namespace",
        "db.operation.name",
        "db.query.summary",
        "db.response.status_code",
        "db.system.name",
        "elapsed_ms",
        "error.type",
        "from",
        "method",
        "ok",
        "otel.kind",
        "otel.name",
        "path",
        "slow_ms",
        "to",
        "waited_ms",
    ];
    listen(async |listener| {
        let store = store().await;
        store.write(4711).await.unwrap();
        assert_eq!(store.read().await.unwrap(), [4711]);
        store.write(4711).await.unwrap_err();
        store.outer().await.unwrap();
        store.slow().await.unwrap();
        store.swallow().await;
        store.swallow_half().await;
        store.panic().await.unwrap_err();
        store.required(Some(4711), None).await.unwrap();
        store.timed_alone(4711).await;
        store.close().await.unwrap();
        let (spans, events) = (
            listener.spans.lock().unwrap(),
            listener.events.lock().unwrap(),
        );
        assert!(spans.len() > 8 && events.len() > 20);
        for told in spans.iter().chain(events.iter()) {
            assert!(!told.name.contains("4711"), "{told:?}");
            for (name, value) in &told.fields {
                assert!(KNOWN.contains(&name.as_str()), "{name} in {told:?}");
                assert!(!value.contains("4711"), "{told:?}");
            }
        }
    });
}
