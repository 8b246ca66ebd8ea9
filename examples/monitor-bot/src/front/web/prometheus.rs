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
        page.family("monitor_open_alerts", "Alerts that are open");
        page.sample("monitor_open_alerts", &[], alerts.len());
        page.family("monitor_alert_level", "Passed levels of an open alert");
        for alert in &alerts {
            let (id, seen) = (alert.id.to_string(), alert.acknowledged_at.is_some());
            let labels = [
                ("alert", id.as_str()),
                ("metric", &alert.metric),
                ("rule", &alert.rule),
                ("acknowledged", if seen { "true" } else { "false" }),
            ];
            page.sample("monitor_alert_level", &labels, alert.level);
        }
    }
    page.family("monitor_build_info", "The version that runs");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("monitor_build_info", &version, 1);
    database(&mut page, app);
    page.0
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
    let mut described = "";
    for ((short, label), sample) in samples {
        let (kind, name) = (sample.metric.kind, format!("monitor_{short}"));
        if short != described {
            page.family(&name, kind.title());
            described = short;
        }
        let share = kind.unit() == Unit::Percent;
        let value = sample.value / if share { 100.0 } else { 1.0 };
        match &sample.metric.part {
            Some(part) if !label.is_empty() => page.sample(&name, &[(label, part)], value),
            _ => page.sample(&name, &[], value),
        }
    }
    for (name, help, value) in [
        (
            "last_reading_timestamp_seconds",
            "When the newest reading was made",
            reading.at,
        ),
        (
            "last_stored_reading_timestamp_seconds",
            "When one was stored last",
            app.stored_at(),
        ),
        (
            "readings_total",
            "Readings stored since the start",
            app.stored(),
        ),
    ] {
        let name = format!("monitor_{name}");
        page.family(&name, help);
        page.sample(&name, &[], value);
    }
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
    let mut described = "";
    for point in app.store.metrics().points() {
        let (suffix, value) = match point.value {
            PointValue::Counter(value) => ("_total", value),
            PointValue::Gauge(value) => ("", value),
            PointValue::Histogram(_) => continue,
        };
        let name = point.name.replace('.', "_") + suffix;
        if point.name != described {
            page.family(&name, point.description);
            described = point.name;
        }
        page.sample(&name, &point.labels, value);
    }
}

/// The text. Writing to it cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str) {
        let counts = name.ends_with("_total");
        let kind = if counts { "counter" } else { "gauge" };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
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
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}
