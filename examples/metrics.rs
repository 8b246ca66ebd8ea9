//! The figures of a database as Prometheus text, with OpenTelemetry's names for database clients:
//! <https://opentelemetry.io/docs/specs/semconv/db/database-metrics/>. Give this text to a scraper, from whatever HTTP server the
//! program has.
//!
//! ```sh
//! cargo run --example metrics
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{CallTimes, Histogram, MethodMetrics, Metrics};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT";
        db.execute_batch(sql).await
    }
}

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        let sql = "INSERT INTO user (name) VALUES (?1) RETURNING id";
        db.query_one(sql, (name,)).await
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT count(*) FROM user", ()).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::create(Config::in_memory().histograms()).await?;
    store.add("Ada").await?;
    let taken = store.add("Ada").await;
    assert!(taken.is_err());
    assert_eq!(store.count().await?, 1);

    print!("{}", prometheus(&store.metrics(), "users"));
    store.close().await
}

/// One of a method's histograms.
type Which = fn(&CallTimes) -> &Histogram;

/// What the names and labels are is the program's choice: the library gives numbers.
fn prometheus(metrics: &Metrics, database: &str) -> String {
    let labels = format!(r#"db_system_name="sqlite",db_namespace="{database}""#);
    let mut page = Page {
        text: String::new(),
        labels: &labels,
    };

    // The first is stable in OpenTelemetry. The other names may still change there.
    let times: [(&str, Which); 3] = [
        ("db_client_operation_duration_seconds", |times| &times.total),
        ("db_client_connection_wait_time_seconds", |times| {
            &times.waiting
        }),
        ("db_client_connection_use_time_seconds", |times| {
            &times.running
        }),
    ];
    for (name, which) in times {
        page.family(name, "histogram");
        for method in &metrics.methods {
            if let Some(times) = &method.times {
                page.histogram(name, &labels_of(method), which(times));
            }
        }
    }
    // OpenTelemetry wants a state here, used or idle. dbm closes idle connections and does not tell the two apart.
    page.number("db_client_connection_count", "gauge", metrics.connections);
    page.family("db_client_connection_pending_requests", "gauge");
    let pools = [
        ("reader", metrics.waiting_reads),
        ("writer", metrics.waiting_writes),
    ];
    for (pool, waiting) in pools {
        let label = format!(r#"db_client_connection_pool_name="{pool}""#);
        page.sample("db_client_connection_pending_requests", &label, waiting);
    }

    // What OpenTelemetry has no name for.
    page.family("dbm_calls_total", "counter");
    for method in &metrics.methods {
        let calls = &method.calls;
        for (outcome, count) in [
            ("ok", calls.ok),
            ("failed", calls.failed),
            ("panicked", calls.panicked),
            ("timed_out", calls.timed_out),
            ("cancelled", calls.cancelled),
            ("closed", calls.closed),
        ] {
            let label = format!(r#"{},outcome="{outcome}""#, labels_of(method));
            page.sample("dbm_calls_total", &label, count);
        }
    }
    for (name, count) in [
        ("dbm_commits_total", metrics.commits),
        ("dbm_failed_commits_total", metrics.failed_commits),
        ("dbm_members_total", metrics.members),
        ("dbm_checkpoints_total", metrics.checkpoints),
        ("dbm_busy_waits_total", metrics.busy_waits),
        ("dbm_busy_errors_total", metrics.busy_errors),
        ("dbm_overloaded_total", metrics.overloaded),
    ] {
        page.number(name, "counter", count);
    }
    for (name, value) in [
        ("dbm_log_pages", metrics.log_pages),
        ("dbm_threads", metrics.threads),
        ("dbm_live_reads", metrics.live_reads),
    ] {
        page.number(name, "gauge", value);
    }
    if let Some(times) = &metrics.commit_time {
        page.family("dbm_commit_duration_seconds", "histogram");
        page.histogram("dbm_commit_duration_seconds", "", times);
    }
    page.text
}

/// Two modules may have methods of the same name.
fn labels_of(method: &MethodMetrics) -> String {
    let MethodMetrics { module, method, .. } = method;
    format!(r#"code_namespace="{module}",db_query_summary="{method}""#)
}

/// The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Names of methods and databases need no
/// escapes here; text of users would.
struct Page<'a> {
    text: String,
    labels: &'a str,
}

impl Page<'_> {
    fn family(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: &str, value: u64) {
        let comma = if label.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{label}}} {value}", self.labels);
    }

    fn number(&mut self, name: &str, kind: &str, value: u64) {
        self.family(name, kind);
        self.sample(name, "", value);
    }

    /// The buckets there contain all shorter ones.
    fn histogram(&mut self, name: &str, label: &str, histogram: &Histogram) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, more) in &histogram.buckets {
            count += more;
            let bound = match *bound {
                Duration::MAX => "+Inf".to_owned(),
                bound => bound.as_secs_f64().to_string(),
            };
            let label = format!(r#"{label}{comma}le="{bound}""#);
            self.sample(&format!("{name}_bucket"), &label, count);
        }
        let sum = histogram.sum.as_secs_f64();
        let labels = self.labels;
        let _ = writeln!(self.text, "{name}_sum{{{labels}{comma}{label}}} {sum}");
        self.sample(&format!("{name}_count"), label, count);
    }
}

#[cfg(test)]
#[tokio::test]
async fn the_page_shows_each_call() -> Result<()> {
    let store = Store::create(Config::in_memory().histograms()).await?;
    store.add("Ada").await?;
    let taken = store.add("Ada").await;
    assert!(taken.is_err());
    let page = prometheus(&store.metrics(), "users");
    for line in [
        r#"dbm_calls_total{db_system_name="sqlite",db_namespace="users",code_namespace="metrics",db_query_summary="add",outcome="ok"} 1"#,
        r#"dbm_calls_total{db_system_name="sqlite",db_namespace="users",code_namespace="metrics",db_query_summary="add",outcome="failed"} 1"#,
        r#"db_client_operation_duration_seconds_bucket{db_system_name="sqlite",db_namespace="users",code_namespace="metrics",db_query_summary="add",le="+Inf"} 2"#,
        r#"db_client_operation_duration_seconds_count{db_system_name="sqlite",db_namespace="users",code_namespace="metrics",db_query_summary="add"} 2"#,
        r#"dbm_overloaded_total{db_system_name="sqlite",db_namespace="users"} 0"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n\n{page}");
    }
    store.close().await
}
