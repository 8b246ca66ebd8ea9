//! What the page shows, as JSON.

use serde::Serialize;

use crate::app::App;
use crate::commands::{current_rules, headline, in_short, slots, tone};
use crate::error::Result;
use crate::metric::{Metric, Unit};
use crate::reply::Tone;
use crate::sampler::Processes;
use crate::span::Span;
use crate::store::{Alert, Slot};

#[derive(Serialize)]
pub(super) struct Status {
    at: i64,
    /// When a reading was stored last: it is older than `at` while none can be.
    stored_at: Option<i64>,
    /// The seconds between two readings.
    every: i64,
    host: String,
    version: &'static str,
    cards: Vec<Card>,
    alerts: Vec<OpenAlert>,
    /// Why there may be alerts that are not shown.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Card {
    metric: Metric,
    title: String,
    value: f64,
    shown: String,
    note: String,
    tone: &'static str,
}

#[derive(Serialize)]
struct OpenAlert {
    id: i64,
    text: String,
    rule: String,
    raised_at: i64,
    seen: Option<String>,
    /// What used most when it was raised.
    processes: Option<Processes>,
}

#[derive(Serialize)]
pub(super) struct History {
    metric: Metric,
    from: i64,
    to: i64,
    slots: u32,
    /// What a full chart means, where that is fixed.
    full: Option<f64>,
    low: Option<String>,
    high: Option<String>,
    values: Vec<Slot>,
}

pub(super) async fn status(app: &App) -> Status {
    let reading = app.reading();
    // A live read of the status is woken by what is read here.
    let stored_at = app.store.last_sample().await.ok().flatten();
    let (alerts, problem) = app.open_alerts().await;
    let rules = current_rules(app).await;
    let cards = reading
        .samples
        .iter()
        .filter(|sample| in_short(sample))
        .map(|sample| Card {
            metric: sample.metric.clone(),
            title: sample.metric.title(),
            value: sample.value,
            shown: sample.metric.show(sample.value),
            note: sample.note.clone(),
            tone: match tone(&rules, &sample.metric, sample.value) {
                Tone::Bad => "bad",
                Tone::Warn => "warn",
                _ => "",
            },
        });
    Status {
        at: reading.at,
        stored_at,
        every: app.settings.collect.every.as_secs(),
        host: reading.host.clone(),
        version: env!("CARGO_PKG_VERSION"),
        cards: cards.collect(),
        alerts: alerts.iter().map(OpenAlert::from).collect(),
        problem: problem.map(|error| error.to_string()),
    }
}

impl From<&Alert> for OpenAlert {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id,
            text: headline(alert),
            rule: alert.rule.clone(),
            raised_at: alert.raised_at,
            seen: alert.acknowledged_by.clone(),
            processes: alert.processes.as_deref().cloned(),
        }
    }
}

pub(super) async fn history(app: &App, metric: &Metric, span: Span) -> Result<History> {
    // About as many points as a chart has room for.
    let slots = slots(app, span, 120);
    let to = app.clock.now();
    let from = to - span.as_secs();
    let values = app.store.history(metric, from, to, slots).await?;
    let low = values.iter().map(|slot| slot.low).reduce(f64::min);
    let high = values.iter().map(|slot| slot.high).reduce(f64::max);
    Ok(History {
        metric: metric.clone(),
        from,
        to,
        slots,
        full: match metric.kind.unit() {
            Unit::Percent | Unit::Celsius => Some(100.0),
            Unit::Running => Some(1.0),
            _ => None,
        },
        low: low.map(|value| metric.show(value)),
        high: high.map(|value| metric.show(value)),
        values,
    })
}
