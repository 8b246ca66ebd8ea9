//! `alerts`, `alert` and `ack`

use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;
use crate::metric::{Metric, bytes};
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table, Tone};
use crate::rules::{Alert, End};
use crate::sampler::Processes;
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
            by_cpu.to_string().into(),
            format!("{:.1} %", by_cpu.cpu).into(),
            by_memory.to_string().into(),
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
        .map(|alert| format!("Alert {} is seen: {}.", alert.id, alert.headline()));
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
                let after = rough(at - alert.raised_at);
                (format!("{how} after {after}"), Tone::Dim)
            }
            (Some(by), None) => (format!("seen by {by}"), Tone::Warn),
            (None, None) => ("open".to_owned(), Tone::Bad),
        };
        table.row([
            alert.id.to_string().into(),
            Cell::toned(alert.headline(), tone),
            alert.worst_shown().unwrap_or_default().into(),
            app.clock.show(alert.raised_at, "%m-%d %H:%M:%S").into(),
            Cell::toned(state, tone),
            Cell::toned(&alert.rule, Tone::Dim),
        ]);
    }
    table
}
