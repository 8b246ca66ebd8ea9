//! What is told of a call: one span with the names that OpenTelemetry gives to database clients, and few events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::watch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// A span or an event, as it was told.
#[derive(Debug, Clone)]
struct Told {
    level: Level,
    /// The name of a span, the message of an event.
    name: String,
    fields: BTreeMap<String, String>,
    /// `db.query.summary` of the spans around it, the innermost first.
    inside: Vec<String>,
}

#[derive(Clone, Default)]
struct Listener {
    spans: Arc<Mutex<Vec<Told>>>,
    events: Arc<Mutex<Vec<Told>>>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

/// Which of the spans that were told this is.
struct Number(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let span = context.span(id).unwrap();
        let mut spans = self.spans.lock().unwrap();
        let around = span.scope().skip(1);
        let inside = around.filter_map(|span| {
            let number = span.extensions().get::<Number>()?.0;
            Some(spans[number].fields["db.query.summary"].clone())
        });
        let inside = inside.collect();
        let (level, name) = (*span.metadata().level(), span.name().to_owned());
        span.extensions_mut().insert(Number(spans.len()));
        spans.push(Told {
            level,
            name,
            fields,
            inside,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let number = span.extensions().get::<Number>().unwrap().0;
        values.record(&mut Fields(&mut self.spans.lock().unwrap()[number].fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let name = fields.remove("message").unwrap_or_default();
        let spans = self.spans.lock().unwrap();
        let around = context.event_scope(event).into_iter().flatten();
        let inside = around.filter_map(|span| {
            let number = span.extensions().get::<Number>()?.0;
            Some(spans[number].fields["db.query.summary"].clone())
        });
        let told = Told {
            level: *event.metadata().level(),
            name,
            fields,
            inside: inside.collect(),
        };
        self.events.lock().unwrap().push(told);
    }
}

impl Listener {
    /// The only span of this method.
    fn span(&self, method: &str) -> Told {
        let spans = self.spans.lock().unwrap();
        let mut found = spans
            .iter()
            .filter(|span| span.fields["db.query.summary"] == method);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no span of {method}"))
            .clone();
        assert!(found.next().is_none(), "two spans of {method}");
        span
    }

    /// The events about this method.
    fn events(&self, method: &str) -> Vec<Told> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter(|event| {
                event
                    .fields
                    .get("method")
                    .is_some_and(|found| found == method)
            })
            .cloned()
            .collect()
    }

    fn event(&self, message: &str) -> Told {
        let events = self.events.lock().unwrap();
        let found = events.iter().find(|event| event.name == message);
        found
            .unwrap_or_else(|| panic!("nothing says {message:?}"))
            .clone()
    }
}

/// Runs a test on this thread, and listens to all that is told on it.
fn listen(test: impl AsyncFnOnce(Listener) + Send + 'static) {
    watch(move || {
        let listener = Listener::default();
        let subscriber = tracing_subscriber::registry().with(listener.clone());
        let _listening = tracing::subscriber::set_default(subscriber);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test(listener));
    });
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Store {
    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number", ()).await
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn tune(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }

    #[database_safe]
    #[timed]
    async fn outer(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (10)", ()).await?;
        self.inner().await
    }

    #[database_safe]
    #[timed(slow = "1h")]
    async fn inner(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (11)", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[timed(slow = "1ms")]
    async fn slow(&self, _db: &mut WriteTransaction) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }

    #[database_safe]
    async fn fail(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (1), (1)", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_with_exception]
    async fn panic(&self, _db: &mut WriteTransaction) -> Result<()> {
        panic!("as asked")
    }

    #[database_safe]
    #[fail_value(0)]
    async fn swallow(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("INSERT INTO number VALUES (1), (1)", ()).await
    }

    #[database_safe]
    #[fail_value((0, None))]
    #[fail_with_exception]
    async fn swallow_half(&self, db: &mut WriteTransaction) -> Result<(usize, Option<Error>)> {
        Ok((
            db.execute("INSERT INTO number VALUES (1), (1)", ()).await?,
            None,
        ))
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

    #[timed]
    async fn timed_alone(&self, n: i64) -> i64 {
        n
    }
}

async fn store() -> Arc<Store> {
    Store::create(Config::in_memory().db_name("numbers.db"))
        .await
        .unwrap()
}

#[test]
fn a_call_is_a_span_with_the_names_of_opentelemetry() {
    listen(async |listener| {
        let store = store().await;
        store.read().await.unwrap();
        store.write(4711).await.unwrap();
        store.tune().await.unwrap();
        for (method, operation) in [("read", "read"), ("write", "write"), ("tune", "connection")] {
            let span = listener.span(method);
            assert_eq!(span.level, Level::DEBUG);
            let expected = [
                ("db.system.name", "sqlite"),
                ("db.namespace", "numbers.db"),
                ("db.operation.name", operation),
                ("db.query.summary", method),
                ("otel.name", method),
                ("otel.kind", "client"),
                ("code.namespace", module_path!()),
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
fn a_swallowed_failure_is_an_error_with_its_cause_and_no_other_is() {
    listen(async |listener| {
        let store = store().await;
        assert_eq!(store.swallow().await, 0);
        let (zero, cause) = store.swallow_half().await;
        assert_eq!(zero, 0);
        for method in ["swallow", "swallow_half"] {
            let events = listener.events(method);
            let errors: Vec<_> = events
                .iter()
                .filter(|event| event.level == Level::ERROR)
                .collect();
            assert_eq!(errors.len(), 1, "{events:?}");
            assert_eq!(
                errors[0].fields["cause"],
                cause.as_ref().unwrap().to_string()
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
