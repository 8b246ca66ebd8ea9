//! Where readings come from: this machine, or a made-up one that is the same in every run.

mod fake;
mod machine;

use serde::{Deserialize, Serialize};

pub use fake::Fake;
pub use machine::{Machine, host_name};

use crate::metric::Metric;

/// Everything that was measured at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Seconds since 1970.
    pub at: i64,
    /// The machine, for a headline.
    pub host: String,
    /// One value for each metric, in the order they are shown.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// What was measured.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// What a screen adds to it: `3.1 of 15.5 GiB`. Not stored.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The processes that use most.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    /// By processor time, the first uses most.
    pub cpu: Vec<Process>,
    /// By memory.
    pub memory: Vec<Process>,
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its share of one core in percent.
    pub cpu: f64,
    /// Its memory in bytes.
    pub memory: f64,
}

impl Processes {
    /// The first few of all of them.
    pub fn busiest(mut all: Vec<Process>) -> Self {
        const SHOWN: usize = 5;
        let mut first_by = |use_of: fn(&Process) -> f64| {
            all.sort_by(|one, other| use_of(other).total_cmp(&use_of(one)));
            all.iter().take(SHOWN).cloned().collect()
        };
        Self {
            cpu: first_by(|process| process.cpu),
            memory: first_by(|process| process.memory),
        }
    }
}

#[cfg(test)]
impl Reading {
    /// What a test measures.
    pub fn of<const N: usize>(at: i64, values: [(&str, f64); N]) -> Self {
        let samples = values.map(|(metric, value)| Sample {
            metric: metric.parse().unwrap(),
            value,
            note: String::new(),
        });
        Self {
            at,
            host: String::new(),
            samples: samples.into(),
        }
    }
}

impl Reading {
    /// The value of a metric, if it was measured.
    pub fn value(&self, metric: &Metric) -> Option<f64> {
        self.samples
            .iter()
            .find(|sample| sample.metric == *metric)
            .map(|sample| sample.value)
    }

    /// Adds a value, if it is one.
    pub fn add(&mut self, metric: Metric, value: f64, note: impl Into<String>) {
        if value.is_finite() {
            self.samples.push(Sample {
                metric,
                value,
                note: note.into(),
            });
        }
    }
}

/// A source of readings.
pub trait Sampler: Send {
    /// Measures everything, and the watched processes by name.
    fn read(&mut self, at: i64, watched: &[String]) -> Reading;

    /// Every process, and what it uses right now; takes a moment, for that needs two looks.
    fn processes(&mut self) -> Vec<Process>;

    /// Holds a made-up value, or lets it go again; false where values are real.
    fn hold(&mut self, _: Metric, _: Option<f64>) -> bool {
        false
    }
}
