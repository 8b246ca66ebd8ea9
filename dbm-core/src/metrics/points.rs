//! All numbers of [`Metrics`] as one list, with names. Each struct is taken apart without `..`, so that a new field does not
//! compile until it has a name here.

use PointValue::{Counter, Gauge};

use super::{CallTimes, Calls, Histogram, JobRuns, MethodMetrics, Metrics};

/// One number of [`Metrics::points`], with what an exporter says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataPoint<'a> {
    /// The name. `db.client.…` is OpenTelemetry's, `dbm.…` is the library's own.
    pub name: &'static str,
    /// One sentence about all points of this name.
    pub description: &'static str,
    /// The unit in [UCUM](https://ucum.org/), as OpenTelemetry spells it: `s`, or what is counted, such as `{call}`.
    pub unit: &'static str,
    /// What tells it apart from the other points of its name: attributes in OpenTelemetry, labels in Prometheus. The values
    /// are names from the program or the library, never data.
    pub labels: Vec<(&'static str, &'static str)>,
    /// Its kind and its value. All points of a name have the same kind.
    pub value: PointValue<'a>,
}

/// The kind and the value of a [`DataPoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointValue<'a> {
    /// It begins at 0 with the manager, and never falls.
    Counter(u64),
    /// As of now. It rises and falls.
    Gauge(u64),
    /// Times. Bounds and sum are [`Duration`](std::time::Duration)s; an exporter writes them in the unit, seconds.
    Histogram(&'a Histogram),
}

impl Metrics {
    /// Every number of these metrics, with its name, description, unit and labels. So an exporter is a loop, and shows
    /// what a later version of the library adds. The example `metrics` is one for Prometheus.
    ///
    /// The points of one name stand together. Histograms are there only with
    /// [`Config::histograms`](crate::Config::histograms). The names are those of the [conventions for databases], where there
    /// is one; they are part of this contract. Which system and which database it is (`db.system.name`, `db.namespace`) is
    /// for the program to add.
    ///
    /// ```
    /// # use dbm_core::{Metrics, PointValue};
    /// # let metrics = Metrics::default();
    /// for point in metrics.points() {
    ///     match point.value {
    ///         PointValue::Histogram(times) => println!("{}: {} times", point.name, times.count()),
    ///         PointValue::Counter(number) | PointValue::Gauge(number) => {
    ///             println!("{} {:?} {number} {}", point.name, point.labels, point.unit);
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// [conventions for databases]: https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
    #[must_use]
    pub fn points(&self) -> Vec<DataPoint<'_>> {
        let Self {
            methods,
            commits,
            failed_commits,
            members,
            log_pages,
            checkpoints,
            busy_waits,
            busy_errors,
            waiting_writes,
            waiting_reads,
            overloaded,
            connections,
            threads,
            live_reads,
            jobs,
            commit_time,
        } = self;
        let mut ended = Vec::new();
        let [mut took, mut waited, mut ran] = [Vec::new(), Vec::new(), Vec::new()];
        for found in methods {
            let MethodMetrics {
                module,
                method,
                calls,
                times,
            } = found;
            // Two modules may have methods of the same name.
            let labels = vec![("code.namespace", *module), ("db.query.summary", *method)];
            let Calls {
                ok,
                failed,
                panicked,
                timed_out,
                cancelled,
                closed,
            } = calls;
            for (outcome, count) in [
                ("ok", ok),
                ("failed", failed),
                ("panicked", panicked),
                ("timed_out", timed_out),
                ("cancelled", cancelled),
                ("closed", closed),
            ] {
                let mut labels = labels.clone();
                labels.push(("outcome", outcome));
                ended.push((labels, Counter(*count)));
            }
            if let Some(times) = times {
                let CallTimes {
                    waiting,
                    running,
                    total,
                } = times;
                waited.push((labels.clone(), PointValue::Histogram(waiting)));
                ran.push((labels.clone(), PointValue::Histogram(running)));
                took.push((labels, PointValue::Histogram(total)));
            }
        }
        let JobRuns { done, failed, dead } = jobs;
        let outcome = |name| vec![("outcome", name)];
        let runs = vec![
            (outcome("done"), Counter(*done)),
            (outcome("failed"), Counter(*failed)),
            (outcome("dead"), Counter(*dead)),
        ];
        let pool = |name| vec![("db.client.connection.pool.name", name)];
        let queues = vec![
            (pool("reader"), Gauge(*waiting_reads)),
            (pool("writer"), Gauge(*waiting_writes)),
        ];
        let committed = commit_time.iter().map(PointValue::Histogram);
        let committed = committed.map(|times| (Vec::new(), times)).collect();
        let one = |value| vec![(Vec::new(), value)];

        #[rustfmt::skip]
        let all = [
            ("db.client.connection.count", "{connection}", "Open connections to the file.", one(Gauge(*connections))),
            ("db.client.connection.pending_requests", "{request}", "Calls in the queue for a connection.", queues),
            ("db.client.connection.use_time", "s", "Time from when a call had its connection to its end.", ran),
            ("db.client.connection.wait_time", "s", "Time until a call had its connection.", waited),
            ("db.client.operation.duration", "s", "Time of a call from its first poll to its end.", took),
            ("dbm.busy_errors", "{call}", "Calls that gave up to wait for another process.", one(Counter(*busy_errors))),
            ("dbm.busy_waits", "{wait}", "Waits of calls for another process.", one(Counter(*busy_waits))),
            ("dbm.calls", "{call}", "Calls that have ended, by how.", ended),
            ("dbm.checkpoints", "{checkpoint}", "Checkpoints of the write-ahead log.", one(Counter(*checkpoints))),
            ("dbm.commit.duration", "s", "Time from a COMMIT until it was durable.", committed),
            ("dbm.commits", "{commit}", "Transactions that the library has committed.", one(Counter(*commits))),
            ("dbm.failed_commits", "{commit}", "Commits that failed.", one(Counter(*failed_commits))),
            ("dbm.job_runs", "{run}", "Runs of jobs that have ended, by how.", runs),
            ("dbm.live_reads", "{read}", "Live reads.", one(Gauge(*live_reads))),
            ("dbm.log_pages", "{page}", "Pages of the write-ahead log that are in use.", one(Gauge(*log_pages))),
            ("dbm.members", "{call}", "Calls whose work was committed.", one(Counter(*members))),
            ("dbm.overloaded", "{call}", "Calls that a full queue has refused.", one(Counter(*overloaded))),
            ("dbm.threads", "{thread}", "Threads of the manager.", one(Gauge(*threads))),
        ];
        all.into_iter()
            .flat_map(|(name, unit, description, points)| {
                points.into_iter().map(move |(labels, value)| DataPoint {
                    name,
                    description,
                    unit,
                    labels,
                    value,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::metrics::Recorder;

    /// Each number is another one. A struct that is made here needs all of its fields.
    fn numbered() -> (Metrics, u64) {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let methods = ["one", "two"].map(|module| MethodMetrics {
            module,
            method: "add",
            calls: Calls {
                ok: next(),
                failed: next(),
                panicked: next(),
                timed_out: next(),
                cancelled: next(),
                closed: next(),
            },
            times: Some(CallTimes {
                waiting: recorded(next()),
                running: recorded(next()),
                total: recorded(next()),
            }),
        });
        let metrics = Metrics {
            methods: methods.into(),
            commits: next(),
            failed_commits: next(),
            members: next(),
            log_pages: next(),
            checkpoints: next(),
            busy_waits: next(),
            busy_errors: next(),
            waiting_writes: next(),
            waiting_reads: next(),
            overloaded: next(),
            connections: next(),
            threads: next(),
            live_reads: next(),
            jobs: JobRuns {
                done: next(),
                failed: next(),
                dead: next(),
            },
            commit_time: Some(recorded(next())),
        };
        (metrics, last)
    }

    fn recorded(times: u64) -> Histogram {
        let recorder = Recorder::default();
        (0..times).for_each(|_| recorder.record(std::time::Duration::ZERO));
        recorder.snapshot()
    }

    #[test]
    fn every_number_has_one_point() {
        let (metrics, last) = numbered();
        let points = metrics.points();
        let values = points.iter().map(|point| match point.value {
            Counter(number) | Gauge(number) => number,
            PointValue::Histogram(times) => times.count(),
        });
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        assert_eq!(values, (1..=last).collect::<Vec<_>>());
    }

    #[test]
    fn points_of_one_name_stand_together_and_differ_by_their_labels() {
        let (metrics, _) = numbered();
        let points = metrics.points();
        let names = points.chunk_by(|one, next| one.name == next.name);
        let distinct: HashSet<_> = points.iter().map(|point| point.name).collect();
        assert_eq!(names.clone().count(), distinct.len());
        for together in names {
            let labels: HashSet<_> = together.iter().map(|point| &point.labels).collect();
            assert_eq!(labels.len(), together.len(), "{together:#?}");
        }
    }
}
