//! The figures of a database as Prometheus text, with OpenTelemetry's names for database clients:
//! <https://opentelemetry.io/docs/specs/semconv/db/database-metrics/>. Give this text to a scraper, from whatever HTTP server the
//! program has.
//!
//! ```sh
//! cargo run --example metrics
//! ```

use std::fmt::{self, Write as _};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Histogram, Metrics, PointValue};

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

/// The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Names of methods and databases need no
/// escapes here; text of users would. OpenTelemetry wants a state, used or idle, with the count of connections: dbm closes
/// idle ones and does not tell the two apart.
fn prometheus(metrics: &Metrics, database: &str) -> String {
    let mut page = String::new();
    let mut described = "";
    for point in metrics.points() {
        let (kind, suffix) = match point.value {
            PointValue::Counter(_) => ("counter", "_total"),
            PointValue::Gauge(_) => ("gauge", ""),
            PointValue::Histogram(_) => ("histogram", "_seconds"),
        };
        let name = point.name.replace('.', "_") + suffix;
        if described != point.name {
            let help = point.description;
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            described = point.name;
        }
        let mut labels = format!(r#"db_system_name="sqlite",db_namespace="{database}""#);
        for (label, value) in point.labels {
            let _ = write!(labels, r#",{}="{value}""#, label.replace('.', "_"));
        }
        let _ = match point.value {
            PointValue::Counter(value) | PointValue::Gauge(value) => {
                writeln!(page, "{name}{{{labels}}} {value}")
            }
            PointValue::Histogram(times) => histogram(&mut page, &name, &labels, times),
        };
    }
    page
}

/// The buckets there contain all shorter ones.
fn histogram(page: &mut String, name: &str, labels: &str, times: &Histogram) -> fmt::Result {
    let mut count = 0;
    for (bound, more) in &times.buckets {
        count += more;
        let bound = match *bound {
            Duration::MAX => "+Inf".to_owned(),
            bound => bound.as_secs_f64().to_string(),
        };
        writeln!(page, r#"{name}_bucket{{{labels},le="{bound}"}} {count}"#)?;
    }
    let sum = times.sum.as_secs_f64();
    writeln!(page, "{name}_sum{{{labels}}} {sum}")?;
    writeln!(page, "{name}_count{{{labels}}} {count}")
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
