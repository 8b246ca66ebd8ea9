//! `status`, and the first screen.

use serde_json::json;

use super::alerts;
use crate::app::App;
use crate::error::Result;
use crate::metric::{Kind, Metric, Unit};
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table, Tone};
use crate::rules::{Alert, Rules};
use crate::sampler::{Reading, Sample};
use crate::span::rough;

pub(super) async fn status(app: &App, full: bool) -> Result<Reply> {
    let reading = app.reading();
    let (alerts, problem) = app.open_alerts().await;
    let rules = current_rules(app).await;
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
    let mut table = Table::new([Left(""), Right(""), Left(""), Left("")]);
    for sample in &shown {
        let tone = tone(&rules, &alerts, &sample.metric, sample.value);
        table.row([
            sample.metric.title().into(),
            Cell::toned(sample.metric.show(sample.value), tone),
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
        let text = format!("Messages that could not be sent: {unsent}. See db version.");
        reply = reply.toned(text, Tone::Bad);
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
        _ if app.store.is_shared() => "Data on a server".to_owned(),
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
    let late = match age > 3 * app.settings.collect.every.as_secs() {
        true => format!(" · {} old", rough(age)),
        false => String::new(),
    };
    let time = app.clock.show(reading.at, "%Y-%m-%d %H:%M:%S");
    format!("{} · {time}{late}", reading.host)
}

/// Without `full`, one line for each kind; disks and processes each count.
fn in_short(sample: &Sample) -> bool {
    match sample.metric.kind {
        Kind::Disk | Kind::Process => sample.metric.part.is_some(),
        Kind::ProcessCpu | Kind::ProcessMemory => false,
        _ => sample.metric.part.is_none(),
    }
}

/// The rules as they are now; none while they cannot be read.
pub async fn current_rules(app: &App) -> Rules {
    app.store.parsed_rules().await.unwrap_or_default()
}

/// What a value means wherever it is shown: bad while an alert is open, to be looked at once that was seen, or while a
/// threshold is passed without an alert.
pub fn tone(rules: &Rules, alerts: &[Alert], metric: &Metric, value: f64) -> Tone {
    let name = metric.to_string();
    let alerts = alerts.iter().filter(|alert| alert.metric == name);
    let of_alerts = alerts.map(|alert| match alert.acknowledged_by {
        None => Tone::Bad,
        Some(_) => Tone::Warn,
    });
    let counting = rules.counting(metric);
    let of_rules = counting.map(|(_, rule)| match rule.passed(value) {
        0 => Tone::Good,
        _ => Tone::Warn,
    });
    of_alerts.chain(of_rules).max().unwrap_or_default()
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
    use crate::span::Span;

    #[tokio::test(start_paused = true)]
    async fn a_colour_follows_rules_and_alerts_and_not_the_size_of_a_value() {
        let app = App::fake().await;
        for rule in ["cpu > 50 for 1h", "load > 4", "disk:/data > 98"] {
            let rule = rule.parse().unwrap();
            app.store.add_rule(&rule, "ada", 0).await.unwrap();
        }
        let memory: Metric = "memory".parse().unwrap();
        for (metric, value) in [("memory", 86.0), ("disk:/", 10.0), ("cpu", 99.0)] {
            app.hold(metric.parse().unwrap(), Some(value));
        }
        app.wait(Span::seconds(10)).await.unwrap();
        let tone = async |metric: &str, value| {
            let (alerts, _) = app.open_alerts().await;
            tone(
                &current_rules(&app).await,
                &alerts,
                &metric.parse().unwrap(),
                value,
            )
        };
        for (metric, value, meant) in [
            ("swap", 89.0, Tone::Good),
            // Another rule counts instead.
            ("disk:/data", 97.0, Tone::Good),
            ("load", 5.0, Tone::Warn),
            ("load:15", 5.0, Tone::Plain),
            ("rx", 1e12, Tone::Plain),
            ("process:nginx", 0.0, Tone::Warn),
            ("process:nginx", 1.0, Tone::Good),
            // Past the threshold, but not for long enough.
            ("cpu", 99.0, Tone::Warn),
            ("memory", 86.0, Tone::Bad),
            // An alert is open until a value is well below the threshold.
            ("memory", 84.0, Tone::Bad),
        ] {
            assert_eq!(tone(metric, value).await, meant, "{metric} {value}");
        }
        let seen = app.store.acknowledge(None, Some(&memory), "ada", 0).await;
        assert_eq!(seen.unwrap().len(), 1);
        assert_eq!(tone("memory", 86.0).await, Tone::Warn);
    }
}
