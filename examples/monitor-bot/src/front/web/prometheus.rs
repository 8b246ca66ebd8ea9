//! The newest reading, the open alerts and the figures of the database, in the text format of Prometheus:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{Display, Write};

use dbm_core::PointValue;
use dbm_core::prelude::*;

use crate::app::App;
use crate::metric::{Kind, Metric, Unit};

pub(super) async fn text(app: &App) -> String {
    let mut page = Page::default();
    reading(&mut page, app);
    let (alerts, problem) = app.open_alerts().await;
    // Alerts that are not known are not said to be none.
    if problem.is_none() {
        let help = "Alerts that are open";
        page.sample("monitor_open_alerts", help, &[], alerts.len());
        for alert in &alerts {
            let (id, seen) = (alert.id.to_string(), alert.acknowledged_at.is_some());
            let labels = [
                ("alert", id.as_str()),
                ("metric", &alert.metric),
                ("rule", &alert.rule),
                ("acknowledged", if seen { "true" } else { "false" }),
            ];
            let help = "Passed levels of an open alert";
            page.sample("monitor_alert_level", help, &labels, alert.level);
        }
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("monitor_build_info", "The version that runs", &version, 1);
    database(&mut page, app);
    page.text
}

fn reading(page: &mut Page, app: &App) {
    let reading = app.reading();
    let mut samples: Vec<_> = reading
        .samples
        .iter()
        .filter_map(|sample| Some((series(&sample.metric)?, sample)))
        .collect();
    // All lines of one name must stand together.
    samples.sort_by_key(|(series, _)| *series);
    for ((name, label), sample) in samples {
        let kind = sample.metric.kind;
        let share = kind.unit() == Unit::Percent;
        let value = sample.value / if share { 100.0 } else { 1.0 };
        let part = sample.metric.part.as_deref().unwrap_or_default();
        let labels = if label.is_empty() {
            &[][..]
        } else {
            &[(label, part)]
        };
        page.sample(&format!("monitor_{name}"), kind.title(), labels, value);
    }
    let mut figure = |name: &str, help, value: i64| {
        page.sample(&format!("monitor_{name}"), help, &[], value);
    };
    figure(
        "last_reading_timestamp_seconds",
        "When the newest reading was made",
        reading.at,
    );
    figure(
        "last_stored_reading_timestamp_seconds",
        "When one was stored last",
        app.stored_at(),
    );
    figure(
        "readings_total",
        "Readings stored since the start",
        app.stored(),
    );
}

/// What a series is called, and the label of its parts. A whole has another name than its parts, for a sum would count
/// it twice. It is left out where it is the sum or the greatest of them.
fn series(metric: &Metric) -> Option<(&'static str, &'static str)> {
    Some(match (metric.kind, metric.part.as_deref()) {
        (Kind::Cpu, None) => ("cpu_usage_ratio", ""),
        (Kind::Cpu, Some(_)) => ("cpu_core_usage_ratio", "core"),
        (Kind::Load, None) => ("load1", ""),
        (Kind::Load, Some("5")) => ("load5", ""),
        (Kind::Load, Some(_)) => ("load15", ""),
        (Kind::Memory, _) => ("memory_usage_ratio", ""),
        (Kind::Swap, _) => ("swap_usage_ratio", ""),
        (Kind::Disk | Kind::Rx | Kind::Tx, None) => return None,
        (Kind::Disk, Some(_)) => ("filesystem_usage_ratio", "mountpoint"),
        (Kind::Rx, Some(_)) => ("network_receive_bytes_per_second", "device"),
        (Kind::Tx, Some(_)) => ("network_transmit_bytes_per_second", "device"),
        (Kind::Temperature, None) => ("cpu_temperature_celsius", ""),
        (Kind::Temperature, Some(_)) => ("sensor_temperature_celsius", "sensor"),
        (Kind::Uptime, _) => ("uptime_seconds", ""),
        (Kind::Process, _) => ("process_running", "process"),
        (Kind::ProcessCpu, _) => ("process_cpu_usage_ratio", "process"),
        (Kind::ProcessMemory, _) => ("process_resident_memory_bytes", "process"),
    })
}

/// What the library counts, under its names; of times there is nothing here, for the bot does not have them measured.
fn database(page: &mut Page, app: &App) {
    for point in app.store.metrics().points() {
        let (suffix, value) = match point.value {
            PointValue::Counter(value) => ("_total", value),
            PointValue::Gauge(value) => ("", value),
            PointValue::Histogram(_) => continue,
        };
        let name = point.name.replace('.', "_") + suffix;
        page.sample(&name, point.description, &point.labels, value);
    }
}

/// The text. Writing to it cannot fail.
#[derive(Default)]
struct Page {
    text: String,
    /// The name of the newest sample: the first one of a name has the head of all.
    name: String,
}

impl Page {
    fn sample(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        if self.name != name {
            let counts = name.ends_with("_total");
            let kind = if counts { "counter" } else { "gauge" };
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            name.clone_into(&mut self.name);
        }
        let escaped = |text: &str| {
            text.replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n")
        };
        let label = |(name, value): &(&str, &str)| {
            format!("{}=\"{}\"", name.replace('.', "_"), escaped(value))
        };
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let _ = match labels.as_str() {
            "" => writeln!(self.text, "{name} {value}"),
            _ => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }
}
