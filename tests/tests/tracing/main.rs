//! What is told of a call: one span with the names that OpenTelemetry gives to database clients, and few events.

#![allow(clippy::unwrap_used, clippy::panic)]

mod events;
mod spans;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::watch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
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
    listen_from(LevelFilter::TRACE, test);
}

/// Listens to what has this level at least.
fn listen_from(level: LevelFilter, test: impl AsyncFnOnce(Listener) + Send + 'static) {
    watch(move || {
        let listener = Listener::default();
        let subscriber = tracing_subscriber::registry()
            .with(level)
            .with(listener.clone());
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
    async fn write(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
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
