//! `alerts` and `ack`, and how alerts read.

use crate::app::App;
use crate::commands::Caller;
use crate::error::{Error, Result};
use crate::metric::{Kind, Metric};
use crate::reply::{Cell, Reply, Side, Table, Tone};
use crate::rules::Rule;
use crate::span::rough;
use crate::store::{Alert, Event, EventKind};

/// How many alerts are listed.
const LISTED: u32 = 20;

pub(super) async fn list(app: &App) -> Result<Reply> {
    let alerts = app.store.latest_alerts(LISTED).await?;
    let reply = Reply::with_data(&alerts);
    if alerts.is_empty() {
        return Ok(reply.text("There has been no alert yet."));
    }
    Ok(reply.table(table(app, &alerts)))
}

pub(super) async fn acknowledge(
    app: &App,
    caller: &Caller,
    id: Option<i64>,
    metric: Option<&Metric>,
) -> Result<Reply> {
    let seen = app
        .store
        .acknowledge(id, metric, &caller.id, app.clock.now())
        .await?;
    if seen.is_empty() {
        return Err(Error::refused(
            "No such alert is open. Type alerts to see which are.",
        ));
    }
    let lines = seen
        .iter()
        .map(|alert| format!("Alert {} is seen: {}.", alert.id, headline(alert)));
    Ok(Reply::with_data(&seen).text(lines.collect::<Vec<_>>().join("\n")))
}

/// A table of alerts.
pub(super) fn table(app: &App, alerts: &[Alert]) -> Table {
    let mut table = Table::new([
        ("id", Side::Right),
        ("alert", Side::Left),
        ("worst", Side::Right),
        ("since", Side::Left),
        ("state", Side::Left),
        ("rule", Side::Left),
    ]);
    for alert in alerts {
        let (state, tone) = match (&alert.acknowledged_by, alert.cleared_at) {
            (_, Some(at)) => (
                format!("over after {}", rough(at - alert.raised_at)),
                Tone::Dim,
            ),
            (Some(by), None) => (format!("seen by {by}"), Tone::Warn),
            (None, None) => ("open".to_owned(), Tone::Bad),
        };
        table.row([
            alert.id.to_string().into(),
            Cell::toned(
                headline(alert),
                if alert.cleared_at.is_some() {
                    Tone::Dim
                } else {
                    tone
                },
            ),
            shown(&alert.metric, alert.worst).into(),
            app.clock.show(alert.raised_at, "%m-%d %H:%M:%S").into(),
            Cell::toned(state, tone),
            Cell::toned(&alert.rule, Tone::Dim),
        ]);
    }
    table
}

/// An alert in a few words.
pub fn headline(alert: &Alert) -> String {
    sentence(
        &alert.metric,
        alert.announced,
        &alert.rule,
        alert.level,
        EventKind::Raised,
    )
}

/// What happened, in a few words.
pub fn event_line(event: &Event) -> String {
    sentence(
        &event.metric,
        event.value,
        &event.rule,
        event.level,
        event.what,
    )
}

fn sentence(metric: &str, value: f64, rule: &str, level: usize, what: EventKind) -> String {
    let Ok(metric) = metric.parse::<Metric>() else {
        return metric.to_owned();
    };
    let title = metric.title();
    if metric.kind == Kind::Process {
        return match what {
            EventKind::Raised | EventKind::Worse => format!("{title} stopped"),
            EventKind::Acknowledged => format!("{title} stopped, and was seen"),
            EventKind::Cleared => format!("{title} is over: it runs again or is watched no longer"),
        };
    }
    let now = metric.show(value);
    let passed = rule
        .parse::<Rule>()
        .ok()
        .and_then(|rule| Some((rule.above, *rule.levels.get(level.checked_sub(1)?)?)))
        .map(|(above, level)| {
            format!(
                ", {} {}",
                if above { "above" } else { "below" },
                metric.show(level)
            )
        })
        .unwrap_or_default();
    match what {
        EventKind::Raised => format!("{title} is at {now}{passed}"),
        EventKind::Worse => format!("{title} is worse, at {now}{passed}"),
        EventKind::Acknowledged => format!("{title} at {now} was seen"),
        EventKind::Cleared => format!("{title} is over, at {now}"),
    }
}

fn shown(metric: &str, value: f64) -> String {
    metric
        .parse::<Metric>()
        .map_or_else(|_| value.to_string(), |metric| metric.show(value))
}
