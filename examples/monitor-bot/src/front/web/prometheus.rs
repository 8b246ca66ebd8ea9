//! The newest reading, the open alerts and the figures of the database, in the text format of Prometheus.

use std::fmt::{Display, Write};

use dbm_core::Metrics;
use dbm_core::prelude::*;

use crate::app::App;
use crate::metric::{Kind, Metric};
use crate::sampler::Reading;
use crate::store::Alert;

pub(super) async fn text(app: &App) -> String {
    let (alerts, problem) = app.store.open_alerts().await;
    let reading = app.reading();
    let mut page = Page::default();
    page.reading(&reading);
    // Alerts that are not known are not said to be none.
    if problem.is_none() {
        page.alerts(&alerts);
    }
    page.family("monitor_build_info", "gauge", "The version that runs");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("monitor_build_info", &version, 1);
    let name = "monitor_last_reading_timestamp_seconds";
    page.one(
        name,
        "gauge",
        "When the newest reading was made",
        reading.at,
    );
    let name = "monitor_last_stored_reading_timestamp_seconds";
    page.one(
        name,
        "gauge",
        "When a reading was stored last",
        app.stored_at(),
    );
    let help = "Readings stored since the start";
    page.one("monitor_readings_total", "counter", help, app.stored());
    page.database(&app.store.metrics());
    page.0
}

/// How a series is called, what labels its parts, and what one of its unit is there. A whole is never called as its
/// parts are, for a sum would count it twice; where it is their sum or their greatest it is left out.
fn family(metric: &Metric) -> Option<(&'static str, &'static str, f64, &'static str)> {
    let percent = 0.01;
    Some(match (metric.kind, metric.part.as_deref()) {
        (Kind::Cpu, None) => ("cpu_usage_ratio", "", percent, "Processor time in use"),
        (Kind::Cpu, _) => (
            "cpu_core_usage_ratio",
            "core",
            percent,
            "Time of a core in use",
        ),
        (Kind::Load, None) => ("load1", "", 1.0, "Load over a minute"),
        (Kind::Load, Some("5")) => ("load5", "", 1.0, "Load over five minutes"),
        (Kind::Load, _) => ("load15", "", 1.0, "Load over a quarter of an hour"),
        (Kind::Memory, _) => ("memory_usage_ratio", "", percent, "Memory in use"),
        (Kind::Swap, _) => ("swap_usage_ratio", "", percent, "Swap space in use"),
        (Kind::Disk | Kind::Rx | Kind::Tx, None) => return None,
        (Kind::Disk, _) => (
            "filesystem_usage_ratio",
            "mountpoint",
            percent,
            "Space in use",
        ),
        (Kind::Rx, _) => (
            "network_receive_bytes_per_second",
            "device",
            1.0,
            "Received",
        ),
        (Kind::Tx, _) => ("network_transmit_bytes_per_second", "device", 1.0, "Sent"),
        (Kind::Temperature, None) => ("cpu_temperature_celsius", "", 1.0, "Of the processor"),
        (Kind::Temperature, _) => ("sensor_temperature_celsius", "sensor", 1.0, "Of a sensor"),
        (Kind::Uptime, _) => ("uptime_seconds", "", 1.0, "Time since the machine started"),
        (Kind::Process, _) => ("process_running", "process", 1.0, "Whether it runs"),
        (Kind::ProcessCpu, _) => {
            let help = "Processor time in use by a process; 1 is a whole core";
            ("process_cpu_usage_ratio", "process", percent, help)
        }
        (Kind::ProcessMemory, _) => (
            "process_resident_memory_bytes",
            "process",
            1.0,
            "Memory of a process",
        ),
    })
}

/// The text: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
#[derive(Default)]
struct Page(String);

impl Page {
    fn reading(&mut self, reading: &Reading) {
        let mut samples: Vec<_> = reading
            .samples
            .iter()
            .filter_map(|sample| Some((family(&sample.metric)?, sample)))
            .collect();
        // All lines of one name must stand together.
        samples.sort_by_key(|((name, ..), _)| *name);
        let mut last = "";
        for ((short, label, factor, help), sample) in samples {
            let name = format!("monitor_{short}");
            if short != last {
                self.family(&name, "gauge", help);
                last = short;
            }
            let part = sample.metric.part.as_deref().unwrap_or_default();
            let labels = [(label, part)];
            let labels = if label.is_empty() { &[][..] } else { &labels };
            self.sample(&name, labels, sample.value * factor);
        }
    }

    fn alerts(&mut self, alerts: &[Alert]) {
        let help = "Alerts that are open";
        self.one("monitor_open_alerts", "gauge", help, alerts.len());
        let help = "An open alert: how many levels of its rule are passed";
        self.family("monitor_alert_level", "gauge", help);
        for alert in alerts {
            let labels = [
                ("alert", alert.id.to_string()),
                ("metric", alert.metric.clone()),
                ("rule", alert.rule.clone()),
                ("acknowledged", alert.acknowledged_at.is_some().to_string()),
            ];
            let labels = labels
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            self.sample("monitor_alert_level", &labels, alert.level);
        }
    }

    fn database(&mut self, metrics: &Metrics) {
        self.family(
            "dbm_calls_total",
            "counter",
            "Calls of the database by their end",
        );
        for found in &metrics.methods {
            let calls = &found.calls;
            for (outcome, count) in [
                ("ok", calls.ok),
                ("failed", calls.failed),
                ("panicked", calls.panicked),
                ("timed_out", calls.timed_out),
                ("cancelled", calls.cancelled),
                ("closed", calls.closed),
            ] {
                // Two modules may have methods of the same name.
                let labels = [
                    ("module", found.module),
                    ("method", found.method),
                    ("outcome", outcome),
                ];
                self.sample("dbm_calls_total", &labels, count);
            }
        }
        self.family("dbm_job_runs_total", "counter", "Runs of jobs by their end");
        let jobs = metrics.jobs;
        for (outcome, count) in [
            ("done", jobs.done),
            ("failed", jobs.failed),
            ("dead", jobs.dead),
        ] {
            self.sample("dbm_job_runs_total", &[("outcome", outcome)], count);
        }
        self.family("dbm_waiting_calls", "gauge", "Calls in a queue");
        for (pool, count) in [
            ("writer", metrics.waiting_writes),
            ("reader", metrics.waiting_reads),
        ] {
            self.sample("dbm_waiting_calls", &[("pool", pool)], count);
        }
        for (name, help, count) in [
            ("dbm_commits_total", "Commits", metrics.commits),
            (
                "dbm_failed_commits_total",
                "Commits that failed",
                metrics.failed_commits,
            ),
            (
                "dbm_members_total",
                "Calls that were committed",
                metrics.members,
            ),
            (
                "dbm_checkpoints_total",
                "Checkpoints of the log",
                metrics.checkpoints,
            ),
            (
                "dbm_busy_waits_total",
                "Waits for another process",
                metrics.busy_waits,
            ),
            (
                "dbm_busy_errors_total",
                "Such waits that were given up",
                metrics.busy_errors,
            ),
            (
                "dbm_overloaded_total",
                "Calls refused by a full queue",
                metrics.overloaded,
            ),
            (
                "dbm_log_pages",
                "Pages of the log in use",
                metrics.log_pages,
            ),
            (
                "dbm_connections",
                "Open connections to the file",
                metrics.connections,
            ),
            ("dbm_threads", "Threads of the database", metrics.threads),
            ("dbm_live_reads", "Live reads", metrics.live_reads),
        ] {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            self.one(name, kind, help, count);
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() {
            labels
        } else {
            format!("{{{labels}}}")
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
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
    use std::collections::HashSet;

    use super::*;

    /// Name, labels and value of a line, or why it is none.
    fn parsed(line: &str) -> Result<(String, String, f64), String> {
        let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
        let value = value.parse().map_err(|_| "no number")?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9'))
        };
        let mut rest = labels.strip_suffix('}').ok_or("no end of the labels")?;
        while !rest.is_empty() {
            let (label, text) = rest.split_once("=\"").ok_or("no label")?;
            let mut escape = false;
            let end = text.find(|letter| {
                let ends = letter == '"' && !escape;
                escape = letter == '\\' && !escape;
                ends
            });
            let (text, after) = text.split_at(end.ok_or("no end of a label")?);
            if !is_name(label) || text.contains('\n') {
                return Err(format!("the label {label}"));
            }
            rest = after[1..].strip_prefix(',').unwrap_or(&after[1..]);
        }
        is_name(name)
            .then(|| (name.to_owned(), labels.to_owned(), value))
            .ok_or_else(|| "no name".to_owned())
    }

    /// Holds a text to the format: each name is described once, before its lines, and each series is there once.
    fn checked(text: &str) -> Vec<(String, String, f64)> {
        let (mut names, mut series) = (HashSet::new(), HashSet::new());
        let mut current = String::new();
        let mut found = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(names.insert(name.to_owned()) && !help.is_empty(), "{line}");
                name.clone_into(&mut current);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let kind = kind.strip_prefix(&format!("{current} ")).unwrap();
                let counts = current.ends_with("_total");
                assert_eq!(kind, if counts { "counter" } else { "gauge" }, "{line}");
            } else {
                let sample = parsed(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}"));
                assert_eq!(sample.0, current, "{line}");
                assert!(
                    series.insert(format!("{} {}", sample.0, sample.1)),
                    "twice: {line}"
                );
                found.push(sample);
            }
        }
        assert!(text.ends_with('\n'));
        found
    }

    #[tokio::test(start_paused = true)]
    async fn the_page_keeps_to_the_format_and_shows_reading_alerts_and_database() {
        let app = App::fake().await;
        app.store.add_watch("nginx", 0).await.unwrap();
        for (metric, value) in [("memory", 97.0), ("process:nginx", 0.0)] {
            app.hold(metric.parse().unwrap(), Some(value));
        }
        app.wait(crate::span::Span::seconds(60)).await.unwrap();
        let found = checked(&text(&app).await);
        let value = |name: &str, label: &str| {
            let is = |sample: &&(String, String, f64)| sample.0 == name && sample.1.contains(label);
            found.iter().find(is).map(|sample| sample.2)
        };
        assert_eq!(value("monitor_memory_usage_ratio", ""), Some(0.97));
        assert_eq!(
            value("monitor_process_running", "process=\"nginx\""),
            Some(0.0)
        );
        assert_eq!(value("monitor_open_alerts", ""), Some(2.0));
        assert_eq!(
            value(
                "monitor_alert_level",
                "metric=\"memory\",rule=\"memory > 85\",acknowledged=\"false\""
            ),
            Some(1.0)
        );
        assert_eq!(
            value("monitor_last_reading_timestamp_seconds", ""),
            Some(app.reading().at as f64)
        );
        assert_eq!(
            value("dbm_calls_total", "method=\"record\",outcome=\"ok\""),
            Some(13.0)
        );
        assert_eq!(
            value("dbm_commits_total", "").map(|count| count >= 13.0),
            Some(true)
        );
    }

    #[test]
    fn a_whole_is_never_called_as_its_parts() {
        let values = [
            ("cpu", 50.0),
            ("cpu:0", 50.0),
            ("disk", 9.0),
            ("disk:/", 9.0),
            ("rx", 1.0),
            ("rx:a", 1.0),
        ];
        let mut page = Page::default();
        page.reading(&Reading::of(0, values));
        let shown = checked(&page.0)
            .into_iter()
            .map(|(name, labels, _)| format!("{name}{{{labels}"));
        let shown: Vec<_> = shown.collect();
        assert_eq!(
            shown,
            [
                "monitor_cpu_core_usage_ratio{core=\"0\"}",
                "monitor_cpu_usage_ratio{}",
                "monitor_filesystem_usage_ratio{mountpoint=\"/\"}",
                "monitor_network_receive_bytes_per_second{device=\"a\"}",
            ]
        );
    }

    #[test]
    fn a_hostile_name_stays_in_its_label() {
        let mut page = Page::default();
        page.reading(&Reading::of(
            0,
            [("disk:/a\"} 1 b\\", 5.0), ("disk:/", 6.0)],
        ));
        assert_eq!(checked(&page.0).len(), 2);
        assert!(page.0.contains("{mountpoint=\"/a\\\"} 1 b\\\\\"} 0.05\n"));
    }
}
