//! `status`, and the first screen.

use serde_json::json;

use super::alerts;
use crate::app::App;
use crate::error::Result;
use crate::metric::{Kind, Unit};
use crate::reply::{Cell, Reply, Side, Table, Tone};
use crate::sampler::{Reading, Sample};
use crate::span::rough;

pub(super) async fn status(app: &App, full: bool) -> Result<Reply> {
    let reading = app.reading();
    let (alerts, problem) = app.open_alerts().await;
    let shown: Vec<_> = reading
        .samples
        .iter()
        .filter(|sample| full || in_short(sample))
        .collect();
    let problem = problem.map(|error| error.to_string());
    let data = json!({
        "at": reading.at,
        "host": reading.host,
        "samples": shown,
        "alerts": alerts,
        "problem": problem,
    });
    let mut table = Table::new([
        ("", Side::Left),
        ("", Side::Right),
        ("", Side::Left),
        ("", Side::Left),
    ]);
    for sample in &shown {
        table.row([
            sample.metric.title().into(),
            Cell::toned(sample.metric.show(sample.value), tone(sample)),
            bar(sample).into(),
            Cell::toned(&sample.note, Tone::Dim),
        ]);
    }
    let mut reply = Reply::with_data(data)
        .toned(headline(app, &reading), Tone::Strong)
        .table(table);
    if let Some(problem) = problem {
        reply = reply.toned(format!("Alerts cannot be shown. {problem}"), Tone::Bad);
    }
    // What cannot be read is none to tell here.
    let unsent = app.store.undelivered().await.unwrap_or_default().len();
    if unsent > 0 {
        reply = reply.toned(
            format!("Messages that could not be sent: {unsent}. See db version."),
            Tone::Bad,
        );
    }
    if !alerts.is_empty() {
        reply = reply.table(alerts::table(app, &alerts));
    }
    Ok(reply)
}

/// The first screen: how the machine is, and what to type.
pub async fn greeting(app: &App) -> Result<Reply> {
    Ok(status(app, false)
        .await?
        .text("Type: status full · history cpu 10m · watch add sshd · alerts · help · quit")
        .toned(places(app), Tone::Dim))
}

/// Where to find things.
pub fn places(app: &App) -> String {
    let data = match &app.data_dir {
        Some(directory) => format!("Data in {}", directory.display()),
        None => "Data in a temporary place, gone at the end".to_owned(),
    };
    let page = app
        .page
        .get()
        .map(|address| format!(" · page at http://{address}"));
    data + &page.unwrap_or_default()
}

fn headline(app: &App, reading: &Reading) -> String {
    let age = app.clock.now() - reading.at;
    let late = if age > 3 * app.settings.collect.every.as_secs() {
        format!(" · {} old", rough(age))
    } else {
        String::new()
    };
    format!(
        "{} · {}{late}",
        reading.host,
        app.clock.show(reading.at, "%Y-%m-%d %H:%M:%S")
    )
}

/// Without `full`, one line for each kind; disks and processes each count.
fn in_short(sample: &Sample) -> bool {
    match sample.metric.kind {
        Kind::Disk | Kind::Process => sample.metric.part.is_some(),
        Kind::ProcessCpu | Kind::ProcessMemory => false,
        _ => sample.metric.part.is_none(),
    }
}

/// What a value means, apart from any rule.
fn tone(sample: &Sample) -> Tone {
    match sample.metric.kind.unit() {
        Unit::Percent | Unit::Celsius if sample.value >= 90.0 => Tone::Bad,
        Unit::Percent | Unit::Celsius if sample.value >= 75.0 => Tone::Warn,
        Unit::Percent | Unit::Celsius => Tone::Good,
        Unit::Running if sample.value < 1.0 => Tone::Bad,
        Unit::Running => Tone::Good,
        _ => Tone::Plain,
    }
}

fn bar(sample: &Sample) -> String {
    const LENGTH: f64 = 20.0;
    if sample.metric.kind.unit() != Unit::Percent {
        return String::new();
    }
    let filled = (sample.value.clamp(0.0, 100.0) / 100.0 * LENGTH).round();
    "█".repeat(filled as usize) + &"░".repeat((LENGTH - filled) as usize)
}
