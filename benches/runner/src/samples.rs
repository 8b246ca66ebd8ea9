use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Report, Result, Workload};
use serde::{Deserialize, Serialize};

use crate::peers::{self, RAW};
use crate::suite::Setting;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) peer: String,
    pub(crate) round: usize,
    #[serde(flatten)]
    pub(crate) setting: Setting,
    /// The report, or why there is none.
    pub(crate) outcome: Result<Report, String>,
    /// How often the peer called fsync, where that was counted.
    pub(crate) fsyncs: Option<u64>,
    /// How many acknowledged writes the file lacks.
    pub(crate) lost: u64,
}

/// Where and how it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    rustc: String,
    sqlite: String,
    pub(crate) peers: Vec<String>,
    /// Older results lack these two.
    #[serde(default)]
    rounds: usize,
    #[serde(default)]
    seconds: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) machine: Machine,
    pub(crate) taken: Vec<Sample>,
}

/// The median of several figures, and the extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Samples {
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let (machine, samples) = text.split_once('\n').ok_or("the results are empty")?;
        Ok(Self {
            machine: serde_json::from_str(machine)?,
            taken: samples
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string(&self.machine)? + "\n";
        for sample in &self.taken {
            text += &serde_json::to_string(sample)?;
            text += "\n";
        }
        Ok(fs::write(file, text)?)
    }

    pub(crate) fn of<'a>(
        &'a self,
        peer: &'a str,
        setting: Setting,
    ) -> impl Iterator<Item = &'a Sample> {
        self.taken
            .iter()
            .filter(move |sample| sample.peer == peer && sample.setting == setting)
    }

    /// A figure of one peer over all rounds.
    pub(crate) fn figure(
        &self,
        peer: &str,
        setting: Setting,
        figure: fn(&Report) -> f64,
    ) -> Option<Spread> {
        spread(
            self.of(peer, setting)
                .filter_map(|sample| sample.outcome.as_ref().ok())
                .map(figure)
                // What an older report lacks.
                .filter(|figure| !figure.is_nan())
                .collect(),
        )
    }

    /// The peer against raw in the same round: of rates, and of times where only the time says something.
    pub(crate) fn ratio(&self, peer: &str, setting: Setting) -> Option<Spread> {
        let figure = match setting.workload {
            Workload::Open => |report: &Report| report.p50_us,
            _ => |report: &Report| report.calls_per_second,
        };
        let ratios = self.of(peer, setting).filter_map(|sample| {
            let raw = self
                .of(RAW, setting)
                .find(|raw| raw.round == sample.round)?;
            Some(figure(sample.outcome.as_ref().ok()?) / figure(raw.outcome.as_ref().ok()?))
        });
        spread(ratios.collect())
    }

    /// Inserts to one fsync.
    pub(crate) fn batch(&self, peer: &str, setting: Setting) -> Option<Spread> {
        let batches = self.of(peer, setting).filter_map(|sample| {
            let fsyncs = sample.fsyncs.filter(|count| *count > 0)?;
            Some(sample.outcome.as_ref().ok()?.inserted as f64 / fsyncs as f64)
        });
        spread(batches.collect())
    }
}

fn spread(mut figures: Vec<f64>) -> Option<Spread> {
    figures.sort_by(f64::total_cmp);
    let (least, most) = (*figures.first()?, *figures.last()?);
    let middle = figures.len() / 2;
    let median = match figures.len() % 2 {
        1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    };
    Some(Spread {
        least,
        median,
        most,
    })
}

impl Machine {
    pub(crate) fn read(peers: &[&str], rounds: usize, time: Duration) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Ok(Self {
            processor: processor.unwrap_or("unknown processor").to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            rustc: printed_by(Command::new("rustc").arg("--version"))?,
            sqlite: printed_by(Command::new(peers::program(RAW)?).arg("version"))?,
            peers: peers.iter().map(ToString::to_string).collect(),
            rounds,
            seconds: time.as_secs_f64(),
        })
    }

    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.processors, &self.processor) == (other.processors, &other.processor)
    }

    pub(crate) fn describe(&self) -> String {
        let Self {
            processor,
            processors,
            kernel,
            rustc,
            sqlite,
            rounds,
            seconds,
            ..
        } = self;
        let length = match rounds {
            0 => String::new(),
            1 => format!(", one round of {seconds} s"),
            _ => format!(", {rounds} rounds of {seconds} s"),
        };
        format!("{processors} × {processor}, Linux {kernel}, {rustc}, SQLite {sqlite}{length}")
    }
}

/// The samples of a run, written down as they are taken: whatever stops the run, they are kept.
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// A new one; or, to `resume`, the one of the run that was stopped, with what that run has measured.
    pub(crate) fn open(
        path: &Path,
        machine: &Machine,
        resume: bool,
    ) -> Result<(Self, Vec<Sample>)> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        if resume {
            let Samples {
                machine: before,
                taken,
            } = Self::read(path)?;
            if before != *machine {
                return Err("the run that was stopped had another machine or other options".into());
            }
            let mut file = OpenOptions::new().append(true).open(path)?;
            // Its last line may not be complete.
            file.write_all(b"\n")?;
            return Ok((Self { file }, taken));
        }
        let mut journal = Self {
            file: File::create(path)?,
        };
        journal.write(machine)?;
        Ok((journal, Vec::new()))
    }

    pub(crate) fn add(&mut self, sample: &Sample) -> Result<()> {
        self.write(sample)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line)? + "\n";
        Ok(self.file.write_all(line.as_bytes())?)
    }

    /// What the last run has measured.
    pub(crate) fn read(path: &Path) -> Result<Samples> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (machine, samples) = text.split_once('\n').ok_or("nothing was measured")?;
        let complete = |line| serde_json::from_str(line).ok();
        Ok(Samples {
            machine: serde_json::from_str(machine)?,
            taken: samples.lines().filter_map(complete).collect(),
        })
    }
}

pub(crate) fn printed_by(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {}", error.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the run had been killed while it wrote.
    #[test]
    fn a_run_that_was_stopped_goes_on_where_it_was() -> Result<()> {
        let path = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        let machine = Machine::default();
        let sample = |round| Sample {
            peer: RAW.to_owned(),
            round,
            setting: crate::suite::COLUMNS[0].setting,
            outcome: Err("an error".to_owned()),
            fsyncs: None,
            lost: 0,
        };
        let (mut journal, taken) = Journal::open(&path, &machine, false)?;
        assert!(taken.is_empty());
        journal.add(&sample(0))?;
        journal.file.write_all(b"{\"peer\":\"ra")?;
        drop(journal);
        let (mut journal, taken) = Journal::open(&path, &machine, true)?;
        assert_eq!(taken.len(), 1);
        journal.add(&sample(1))?;
        let rounds: Vec<_> = Journal::read(&path)?
            .taken
            .iter()
            .map(|sample| sample.round)
            .collect();
        assert_eq!(rounds, [0, 1]);
        let other = Machine {
            rounds: 7,
            ..machine
        };
        assert!(Journal::open(&path, &other, true).is_err());
        Ok(fs::remove_file(path)?)
    }

    #[test]
    fn a_median_of_an_even_count_lies_between() {
        assert_eq!(
            spread(vec![4.0, 1.0, 2.0, 3.0]),
            Some(Spread {
                least: 1.0,
                median: 2.5,
                most: 4.0
            })
        );
        assert_eq!(spread(vec![]), None);
    }
}
