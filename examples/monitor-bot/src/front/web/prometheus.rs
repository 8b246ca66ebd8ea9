//! The newest reading in the text format of Prometheus.

use std::fmt::Write;

use crate::metric::{Kind, Unit};
use crate::sampler::Reading;

pub(super) fn text(
    reading: &Reading,
    open_alerts: Option<i64>,
    stored: i64,
    stored_at: i64,
) -> String {
    let mut out = String::new();
    let mut described: Vec<Kind> = Vec::new();
    // All lines of one name must stand together.
    let mut samples: Vec<_> = reading.samples.iter().collect();
    samples.sort_by_key(|sample| sample.metric.kind);
    for sample in samples {
        let kind = sample.metric.kind;
        let name = format!("monitor_{}{}", kind.name(), suffix(kind.unit()));
        if !described.contains(&kind) {
            described.push(kind);
            header(&mut out, &name, kind.title(), "gauge");
        }
        let label = sample
            .metric
            .part
            .as_deref()
            .map(|part| format!("{{part=\"{}\"}}", escaped(part)));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name}{} {}", label.unwrap_or_default(), sample.value);
    }
    let mut figure = |name: &str, help: &str, value: i64| {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        header(&mut out, name, help, kind);
        let _ = writeln!(out, "{name} {value}");
    };
    if let Some(count) = open_alerts {
        figure("monitor_open_alerts", "Alerts that are open", count);
    }
    let help = "Readings stored since the start";
    figure("monitor_readings_total", help, stored);
    let help = "When a reading was stored last";
    figure("monitor_last_reading_timestamp_seconds", help, stored_at);
    out
}

fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn suffix(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "_percent",
        Unit::Number => "",
        Unit::Bytes => "_bytes",
        Unit::ByteRate => "_bytes_per_second",
        Unit::Celsius => "_celsius",
        Unit::Seconds => "_seconds",
        Unit::Running => "_running",
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_names_stand_together() {
        let values = [("disk:/a\"b\\c", 5.0), ("cpu", 1.5), ("disk:/", 6.0)];
        let reading = Reading::of(0, values);
        let text = text(&reading, Some(2), 7, 60);
        assert!(text.contains("monitor_cpu_percent 1.5\n"));
        assert!(text.contains(
            "monitor_disk_percent{part=\"/a\\\"b\\\\c\"} 5\nmonitor_disk_percent{part=\"/\"} 6\n"
        ));
        assert!(text.contains("monitor_open_alerts 2\n"));
        assert!(text.contains("monitor_readings_total 7\n"));
    }
}
