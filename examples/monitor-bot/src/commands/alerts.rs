//! `alerts` and `ack`, and how alerts read.

use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;
use crate::metric::{Kind, Metric, bytes};
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table, Tone};
use crate::rules::{Alert, End, Event, EventKind, Rule};
use crate::sampler::{Process, Processes};
use crate::span::rough;

/// How many alerts are listed.
const LISTED: u32 = 20;

pub(super) async fn list(app: &App) -> Result<Reply> {
    let alerts = app.store.alerts(None, LISTED).await?;
    let reply = Reply::with_data(&alerts);
    if alerts.is_empty() {
        return Ok(reply.text("There has been no alert yet."));
    }
    Ok(reply.table(table(app, &alerts)))
}

/// One alert, and what was busy when it was raised.
pub(super) async fn show(app: &App, id: i64) -> Result<Reply> {
    let alerts = app.store.alerts(Some(id), 1).await?;
    let Some(alert) = alerts.first() else {
        refuse!("There is no such alert. Type alerts to see them.");
    };
    let reply = Reply::with_data(alert).table(table(app, &alerts));
    Ok(match &alert.processes {
        Some(processes) => reply.table(busiest(processes)),
        None => reply,
    })
}

/// The processes that used most, by processor time and by memory side by side.
fn busiest(processes: &Processes) -> Table {
    let mut table = Table::new([Left("most CPU"), Right(""), Left("most memory"), Right("")]);
    for (by_cpu, by_memory) in processes.cpu.iter().zip(&processes.memory) {
        table.row([
            called(by_cpu).into(),
            format!("{:.1} %", by_cpu.cpu).into(),
            called(by_memory).into(),
            bytes(by_memory.memory).into(),
        ]);
    }
    table
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
        refuse!("No such alert is open. Type alerts to see which are.");
    }
    let lines = seen
        .iter()
        .map(|alert| format!("Alert {} is seen: {}.", alert.id, headline(alert)));
    Ok(Reply::with_data(&seen).text(lines.collect::<Vec<_>>().join("\n")))
}

/// A table of alerts.
pub(super) fn table(app: &App, alerts: &[Alert]) -> Table {
    let mut table = Table::new([
        Right("id"),
        Left("alert"),
        Right("worst"),
        Left("since"),
        Left("state"),
        Left("rule"),
    ]);
    for alert in alerts {
        let (state, tone) = match (&alert.acknowledged_by, alert.cleared_at) {
            (_, Some(at)) => {
                let how = match alert.ended {
                    Some(End::RuleRemoved) => "rule removed",
                    Some(End::RuleReplaced) => "rule replaced",
                    Some(End::NotMeasured) => "not measured",
                    Some(End::Recovered) | None => "over",
                };
                (
                    format!("{how} after {}", rough(at - alert.raised_at)),
                    Tone::Dim,
                )
            }
            (Some(by), None) => (format!("seen by {by}"), Tone::Warn),
            (None, None) => ("open".to_owned(), Tone::Bad),
        };
        table.row([
            alert.id.to_string().into(),
            Cell::toned(headline(alert), tone),
            worst(alert).unwrap_or_default().into(),
            app.clock.show(alert.raised_at, "%m-%d %H:%M:%S").into(),
            Cell::toned(state, tone),
            Cell::toned(&alert.rule, Tone::Dim),
        ]);
    }
    table
}

/// An alert in a few words.
pub fn headline(alert: &Alert) -> String {
    sentence(alert, alert.announced, EventKind::Raised)
}

/// What happened, in a few words.
pub fn event_line(event: &Event) -> String {
    sentence(&event.alert, event.value, event.what)
}

fn sentence(alert: &Alert, value: f64, what: EventKind) -> String {
    if let Some(reason) = &alert.reason {
        return match what {
            EventKind::Cleared => "Readings are stored again".to_owned(),
            _ => format!("Nothing can be stored: {reason}"),
        };
    }
    let Ok(metric) = alert.metric.parse::<Metric>() else {
        return alert.metric.clone();
    };
    let (title, rule) = (metric.title(), &alert.rule);
    match (what, alert.ended) {
        (EventKind::Cleared, Some(End::RuleRemoved)) => {
            return format!("{title}: the rule {rule} was removed");
        }
        (EventKind::Cleared, Some(End::RuleReplaced)) => {
            return format!("{title}: another rule counts instead of {rule}");
        }
        (EventKind::Cleared, Some(End::NotMeasured)) => {
            return format!("{title} is measured no longer");
        }
        _ => {}
    }
    if metric.kind == Kind::Process {
        return match what {
            EventKind::Raised | EventKind::Worse => format!("{title} stopped"),
            EventKind::Acknowledged => format!("{title} stopped, and was seen"),
            EventKind::Cleared => format!("{title} runs again"),
        };
    }
    let now = metric.show(value);
    let passed = rule
        .parse::<Rule>()
        .ok()
        .and_then(|rule| Some((rule.above, rule.threshold(alert.level)?)))
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

/// The processes that used most, in a line.
pub fn process_line(processes: &Processes) -> String {
    let by_cpu = processes.cpu.iter();
    let by_memory = processes.memory.iter();
    let cpu = by_cpu.map(|process| format!("{} {:.1} %", called(process), process.cpu));
    let memory = by_memory.map(|process| format!("{} {}", called(process), bytes(process.memory)));
    let lists = [
        ("CPU", cpu.collect::<Vec<_>>()),
        ("memory", memory.collect()),
    ];
    let told = lists.iter().filter(|(_, list)| !list.is_empty());
    let told = told.map(|(of, list)| format!("{of}: {}", list.join(", ")));
    told.collect::<Vec<_>>().join("; ")
}

fn called(process: &Process) -> String {
    format!("{} ({})", process.name, process.id)
}

/// The worst value so far; none for a process, which only runs or not.
pub fn worst(alert: &Alert) -> Option<String> {
    let metric = alert.metric.parse::<Metric>().ok();
    let measured = metric.filter(|metric| metric.kind != Kind::Process);
    measured.map(|metric| metric.show(alert.worst))
}
