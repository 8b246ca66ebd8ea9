//! `status`, and the first screen.

use serde_json::json;

use super::alerts;
use crate::app::App;
use crate::error::Result;
use crate::metric::{Kind, Metric, Unit};
use crate::reply::{Cell, Reply, Side, Table, Tone};
use crate::rules::Rule;
use crate::sampler::{Reading, Sample};
use crate::span::rough;

pub(super) async fn status(app: &App, full: bool) -> Result<Reply> {
    let reading = app.reading();
    let (alerts, problem) = app.open_alerts().await;
    let rules = rules(app).await;
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
            Cell::toned(
                sample.metric.show(sample.value),
                tone(&rules, &sample.metric, sample.value),
            ),
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
pub fn in_short(sample: &Sample) -> bool {
    match sample.metric.kind {
        Kind::Disk | Kind::Process => sample.metric.part.is_some(),
        Kind::ProcessCpu | Kind::ProcessMemory => false,
        _ => sample.metric.part.is_none(),
    }
}

/// The rules as they are now; none while they cannot be read.
pub async fn rules(app: &App) -> Vec<Rule> {
    let kept = app.store.rules().await.unwrap_or_default();
    kept.iter()
        .filter_map(|rule| rule.text.parse().ok())
        .collect()
}

/// What the rules say of a value: bad past a threshold, to be looked at where an alert would not end yet.
pub fn tone(rules: &[Rule], metric: &Metric, value: f64) -> Tone {
    let weigh = |rule: &Rule| match rule {
        _ if rule.passed(value) > 0 => Tone::Bad,
        _ if rule.is_worse(value, rule.clear) => Tone::Warn,
        _ => Tone::Good,
    };
    let tones = rules
        .iter()
        .filter(|rule| rule.applies_to(metric))
        .map(weigh);
    tones.max().unwrap_or_default()
}

fn bar(sample: &Sample) -> String {
    const LENGTH: f64 = 20.0;
    if sample.metric.kind.unit() != Unit::Percent {
        return String::new();
    }
    let filled = (sample.value.clamp(0.0, 100.0) / 100.0 * LENGTH).round();
    "█".repeat(filled as usize) + &"░".repeat((LENGTH - filled) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_red_only_when_a_rule_says_so() {
        let rules: Vec<Rule> = ["memory > 85", "disk > 90/95", "load > 4", "process stopped"]
            .map(|rule| rule.parse().unwrap())
            .into();
        for (metric, value, meant) in [
            ("cpu", 99.0, Tone::Plain),
            ("memory", 80.0, Tone::Good),
            ("memory", 84.0, Tone::Warn),
            ("memory", 86.0, Tone::Bad),
            ("disk:/", 91.0, Tone::Bad),
            ("load", 5.0, Tone::Bad),
            ("load:15", 5.0, Tone::Plain),
            ("process:nginx", 0.0, Tone::Bad),
            ("process:nginx", 1.0, Tone::Good),
        ] {
            let metric = metric.parse().unwrap();
            assert_eq!(tone(&rules, &metric, value), meant, "{metric} {value}");
        }
    }
}
