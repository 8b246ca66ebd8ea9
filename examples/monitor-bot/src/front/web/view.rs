//! What the page shows, as JSON.

use serde::Serialize;

use crate::app::App;
use crate::commands::{columns, current_rules, slots, tone};
use crate::error::Result;
use crate::metric::{Kind, Metric, Unit, rounded};
use crate::reply::Tone;
use crate::rules::Rules;
use crate::sampler::Processes;
use crate::span::Span;
use crate::store::{Alert, Slot};

/// How the machine is.
#[derive(Serialize)]
pub(super) struct Status {
    /// When the newest reading was made.
    at: i64,
    /// How many seconds ago that was; the clock of a page is another one.
    age: i64,
    /// When a reading was stored last: it is older than `at` while none can be.
    stored_at: Option<i64>,
    /// The seconds between two readings.
    every: i64,
    host: String,
    version: &'static str,
    metrics: Vec<Figure>,
    /// The open ones, the newest first.
    alerts: Vec<Incident>,
    /// Why there may be alerts that are not shown.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Figure {
    metric: Metric,
    title: String,
    unit: Unit,
    value: f64,
    note: String,
    tone: Tone,
}

#[derive(Serialize)]
struct Incident {
    id: i64,
    metric: String,
    text: String,
    /// None for a process, which only runs or not.
    worst: Option<String>,
    rule: String,
    raised_at: i64,
    seen_by: Option<String>,
    cleared_at: Option<i64>,
    /// What used most when it was raised.
    processes: Option<String>,
}

/// What happened in a span.
#[derive(Serialize)]
pub(super) struct History {
    from: i64,
    to: i64,
    /// How many equal parts of the span have a value each.
    slots: u32,
    /// From when on readings are expected: from the first one there ever was. None without any.
    since: Option<i64>,
    /// When there were none, as begin and end.
    gaps: Vec<(i64, i64)>,
    /// Alerts that were open at some time, the newest first.
    incidents: Vec<Incident>,
    series: Vec<Series>,
}

/// The values of a metric, one for each slot; none where nothing was measured.
#[derive(Serialize)]
struct Series {
    metric: Metric,
    unit: Unit,
    /// What a full chart means, where that is fixed.
    full: Option<f64>,
    /// The levels of the rules, rising.
    limits: Vec<f64>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
    average: Vec<Option<f64>>,
}

pub(super) async fn status(app: &App) -> Status {
    let reading = app.reading();
    // A live read of the status is woken by what is read here.
    let stored_at = app.store.last_sample().await.ok().flatten();
    let (alerts, problem) = app.open_alerts().await;
    let rules = current_rules(app).await;
    let metrics = reading.samples.iter().map(|sample| Figure {
        title: sample.metric.title(),
        unit: sample.metric.kind.unit(),
        value: sample.value,
        note: sample.note.clone(),
        tone: tone(&rules, &alerts, &sample.metric, sample.value),
        metric: sample.metric.clone(),
    });
    Status {
        at: reading.at,
        age: app.clock.now() - reading.at,
        stored_at,
        every: app.settings.collect.every.as_secs(),
        host: reading.host.clone(),
        version: env!("CARGO_PKG_VERSION"),
        metrics: metrics.collect(),
        alerts: alerts.iter().map(Incident::from).collect(),
        problem: problem.map(|error| error.to_string()),
    }
}

impl From<&Alert> for Incident {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id,
            metric: alert.metric.clone(),
            text: alert.headline(),
            worst: alert.worst_shown(),
            rule: alert.rule.clone(),
            raised_at: alert.raised_at,
            seen_by: alert.acknowledged_by.clone(),
            cleared_at: alert.cleared_at,
            processes: alert.processes.as_deref().map(Processes::to_string),
        }
    }
}

pub(super) async fn history(app: &App, metrics: &[Metric], span: Span) -> Result<History> {
    /// About as many points as a chart has room for.
    const SLOTS: u32 = 120;
    /// The most incidents that are listed.
    const LISTED: u32 = 100;
    let to = app.clock.now();
    let from = to - span.as_secs();
    let rules = current_rules(app).await;
    let slots = slots(app, span, SLOTS);
    let mut series = Vec::new();
    for metric in metrics {
        let values = app.store.history(metric, from, to, slots).await?;
        series.push(Series::new(metric, &rules, slots, &values));
    }
    let since = app.store.first_sample().await?.map(|first| first.max(from));
    let gaps = match since {
        Some(since) => gaps(app, since, to).await?,
        None => Vec::new(),
    };
    let incidents = app.store.alerts_between(from, to, LISTED).await?;
    Ok(History {
        from,
        to,
        slots,
        since,
        gaps,
        incidents: incidents.iter().map(Incident::from).collect(),
        series,
    })
}

/// When there were no readings: wherever the processor, which every reading has, has no value.
async fn gaps(app: &App, since: i64, to: i64) -> Result<Vec<(i64, i64)>> {
    /// So many parts are told apart.
    const PARTS: u32 = 1_440;
    // The first reading counts, too.
    let from = since - 1;
    let span = Span::seconds(u32::try_from(to - from).unwrap_or(1));
    let parts = slots(app, span, PARTS);
    // Readings may have been as rare as they can be before the bot was configured anew, and one may be late.
    let longest = (3 * app.settings.collect.every.as_secs()).max(60);
    let cpu = Metric::whole(Kind::Cpu);
    let measured = app.store.history(&cpu, from, to, parts).await?;
    let parts = i64::from(parts);
    let at = |part: i64| from + part * span.as_secs() / parts;
    let mut gaps = Vec::new();
    let mut next = 0;
    let ends = measured.iter().map(|slot| i64::from(slot.slot));
    for part in ends.chain([parts]) {
        if at(part) - at(next) > longest {
            gaps.push((at(next), at(part)));
        }
        next = part + 1;
    }
    Ok(gaps)
}

impl Series {
    fn new(metric: &Metric, rules: &Rules, slots: u32, values: &[Slot]) -> Self {
        let mut limits: Vec<_> = rules
            .counting(metric)
            .flat_map(|(_, rule)| rule.levels.clone())
            .collect();
        limits.sort_by(f64::total_cmp);
        Self {
            metric: metric.clone(),
            unit: metric.kind.unit(),
            full: match metric.kind.unit() {
                Unit::Percent | Unit::Celsius => Some(100.0),
                Unit::Running => Some(1.0),
                _ => None,
            },
            limits,
            low: columns(values, slots, |slot| rounded(slot.low)),
            high: columns(values, slots, |slot| rounded(slot.high)),
            average: columns(values, slots, |slot| rounded(slot.average)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(app: &App, span: i64) -> History {
        let metrics = ["cpu", "memory"].map(|metric| metric.parse().unwrap());
        let span = Span::seconds(u32::try_from(span).unwrap());
        history(app, &metrics, span).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_span_tells_when_nothing_was_measured_and_which_alerts_were_open() {
        let app = App::fake().await;
        let begin = app.reading().at;
        let pass = async |seconds| app.wait(Span::seconds(seconds)).await.unwrap();
        pass(600).await;
        app.clock.advance(Span::seconds(1_200));
        app.hold("memory".parse().unwrap(), Some(91.0));
        pass(60).await;
        app.hold("memory".parse().unwrap(), None);
        pass(600).await;

        let told = all(&app, 3_600).await;
        assert_eq!(told.since, Some(begin), "what was before is no gap");
        assert_eq!(told.gaps.len(), 1, "{:?}", told.gaps);
        let (from, to) = told.gaps[0];
        assert!((from - begin - 600).abs() < 10 && (to - begin - 1_800).abs() < 10);
        assert_eq!(told.incidents[0].worst.as_deref(), Some("91.0 %"));
        assert_eq!(told.series[0].limits, [0.0; 0]);
        assert_eq!(told.series[1].limits, [85.0]);
        assert!(told.series[1].high.contains(&Some(91.0)));

        let told = all(&app, 300).await;
        assert_eq!((told.since, told.gaps.len()), (Some(told.from), 0));
        assert!(told.incidents.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_rolled_up_is_no_gap() {
        let app = App::fake().await;
        let begin = app.reading().at;
        // A longer wait would measure too rarely.
        for _ in 0..2 {
            app.wait(Span::hours(7)).await.unwrap();
        }
        app.store.roll_up().await.unwrap();
        for hours in [1, 5, 7, 12] {
            let told = all(&app, i64::from(hours) * 3_600).await;
            assert!(told.gaps.is_empty(), "{hours} h: {:?}", told.gaps);
        }
        // The first minute begins before its first reading.
        let since = all(&app, 20 * 3_600).await.since.unwrap();
        assert_eq!(since, begin - begin % 60);
    }
}
