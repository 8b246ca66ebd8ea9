//! What dbm loses without each of its heuristics. The library has no switch for them: each is taken out of a copy of its
//! source, and the copy is measured beside the whole, in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Report, Result};

use crate::measure::{Bench, Progress, rotated};
use crate::options::Heuristics;
use crate::samples::{Journal, Machine, Sample, Samples};
use crate::suite::{COLUMNS, Column};
use crate::table::Table;
use crate::{document, peers};

/// A heuristic, and what takes it out.
struct Heuristic {
    name: &'static str,
    file: &'static str,
    /// This text occurs once in the file, and is replaced.
    with: &'static str,
    without: &'static str,
}

const WHOLE: &str = "whole";

const fn limit(name: &'static str, with: &'static str, without: &'static str) -> Heuristic {
    Heuristic {
        name,
        file: "dbm-core/src/engine/writer/policy.rs",
        with,
        without,
    }
}

/// In the words of ARCHITECTURE.md.
const HEURISTICS: [Heuristic; 9] = [
    Heuristic {
        name: "writers share a transaction",
        file: "dbm-core/src/engine/share_policy.rs",
        with: "self.sharing() == Sharing::Shares",
        without: "false",
    },
    Heuristic {
        name: "a write of one statement is unwrapped",
        file: "dbm-core/src/engine/session/autocommit.rs",
        with: "self.access == Access::Write && self.is_one_statement()",
        without: "false",
    },
    Heuristic {
        name: "a leader waits for joiners",
        file: "dbm-core/src/engine/writer/scheduler/mod.rs",
        with: "batch.is_some_and(|batch| batch.members < self.last_members)",
        without: "batch.is_some_and(|_| false)",
    },
    limit(
        "a caller spins for a running body",
        "spin_for: Duration::from_micros(100),",
        "spin_for: Duration::ZERO,",
    ),
    limit(
        "the turn is left to its thread",
        "leave_to_warm_thread_for: Duration::from_micros(65),",
        "leave_to_warm_thread_for: Duration::ZERO,",
    ),
    limit(
        "a relieved leader stays awake",
        "stay_awake_for: Duration::from_micros(100),",
        "stay_awake_for: Duration::ZERO,",
    ),
    Heuristic {
        name: "slow commits go to a thread",
        file: "dbm-core/src/engine/writer/committer.rs",
        with: "Execution::Auto => self.latency.run_on(),",
        without: "Execution::Auto => RunOn::Task,",
    },
    Heuristic {
        name: "the read mark is held",
        file: "dbm-core/src/engine/read_mark.rs",
        with: "const WORTH_IT: u64 = 64;",
        without: "const WORTH_IT: u64 = u64::MAX;",
    },
    Heuristic {
        name: "a thread keeps its reader",
        file: "dbm-core/src/engine/readers/mod.rs",
        with: "self.pool.take_free(thread_number())",
        without: "self.pool.take_free(0)",
    },
];

/// Where they matter.
const MEASURED: [&str; 7] = ["b", "c N", "d N", "d F", "e N", "f N", "f F"];

/// Builds dbm without each of them, measures all in turns, and writes the table into docs/PERFORMANCE.md.
pub(crate) fn run(options: &Heuristics) -> Result<()> {
    peers::compile(&[peers::RAW])?;
    let programs = build_all()?;
    let names: Vec<&str> = programs.iter().map(|(name, _)| *name).collect();
    let settings: Vec<_> = COLUMNS
        .iter()
        .filter(|column| MEASURED.contains(&column.name))
        .map(|column| column.setting)
        .collect();
    let bench = Bench::new(&settings, options.time, 2)?;
    let machine = Machine::read(&names, options.rounds, options.time)?;
    let journal = directory()?.join("run.jsonl");
    let (mut journal, mut taken) = Journal::open(&journal, &machine, false)?;
    let mut progress = Progress::new(options.rounds * settings.len() * names.len(), 0);
    for round in 0..options.rounds {
        for setting in &settings {
            for name in rotated(&names, round) {
                let program = programs.iter().find(|(other, _)| *other == name);
                let (_, program) = program.ok_or("it was not built")?;
                let sample = bench.measure(name, program, *setting, round);
                journal.add(&sample)?;
                taken.push(sample);
                progress.step();
            }
        }
    }
    let samples = Samples { machine, taken };
    let text = format!(
        "{}\n{}\nMeasured on {}.\n",
        table(&samples, "calls/s without", |report| report
            .calls_per_second),
        table(&samples, "CPU of a call without", |report| report.cpu_us),
        samples.machine.describe()
    );
    println!("{text}");
    document::write_heuristics(&text)
}

fn directory() -> Result<PathBuf> {
    Ok(peers::target()?.join("heuristics"))
}

/// The program of each, the whole one first.
fn build_all() -> Result<Vec<(&'static str, PathBuf)>> {
    let directory = directory()?;
    let source = directory.join("source");
    copy(&peers::root().join(".."), &source)?;
    let mut programs = vec![(WHOLE, build(&directory, 0)?)];
    for (number, heuristic) in HEURISTICS.iter().enumerate() {
        eprintln!("building dbm without: {}", heuristic.name);
        let file = source.join(heuristic.file);
        let whole = fs::read_to_string(&file)?;
        fs::write(&file, heuristic.taken_out_of(&whole)?)?;
        let built = build(&directory, number + 1);
        fs::write(&file, whole)?;
        programs.push((heuristic.name, built?));
    }
    Ok(programs)
}

impl Heuristic {
    fn taken_out_of(&self, source: &str) -> Result<String> {
        match source.matches(self.with).count() {
            1 => Ok(source.replace(self.with, self.without)),
            count => Err(format!("{:?} occurs {count} times in {}", self.with, self.file).into()),
        }
    }
}

/// The sources, without what was built or measured.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["target", ".git", "data"]
            .iter()
            .any(|skipped| name == *skipped)
        {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else if fs::read(&from)? != fs::read(&to).unwrap_or_default() {
            // What has not changed is not compiled again.
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

fn build(directory: &Path, number: usize) -> Result<PathBuf> {
    let target = directory.join("target");
    let status = Command::new("cargo")
        .current_dir(directory.join("source/benches"))
        .args(["build", "--release", "--quiet", "--package", "peer-dbm"])
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !status.success() {
        return Err("it does not build".into());
    }
    let program = directory.join(format!("peer-dbm-{number}"));
    fs::copy(target.join("release/peer-dbm"), &program)?;
    Ok(program)
}

/// How a figure changes when a heuristic is taken out.
fn table(samples: &Samples, what: &str, figure: fn(&Report) -> f64) -> Table {
    let columns = COLUMNS
        .iter()
        .filter(|column| MEASURED.contains(&column.name));
    let head = columns.clone().map(Column::head);
    let mut table = Table::new(std::iter::once(what.to_owned()).chain(head));
    for heuristic in &HEURISTICS {
        let cells = columns.clone().map(|column| {
            let of = |peer| samples.of(peer, column.setting);
            let changes = of(heuristic.name).filter_map(|without| {
                let whole = of(WHOLE).find(|whole| whole.round == without.round)?;
                let value = |sample: &Sample| sample.outcome.as_ref().ok().map(figure);
                Some(100.0 * (value(without)? / value(whole)? - 1.0))
            });
            interval(changes.collect())
        });
        table.row(heuristic.name, cells.collect::<Vec<_>>());
    }
    table
}

/// The median of some changes, in per cent, and its 95 % interval: by order alone, whatever their distribution.
fn interval(mut changes: Vec<f64>) -> Option<String> {
    changes.sort_by(f64::total_cmp);
    let count = changes.len();
    let median = *changes.get(count / 2)?;
    let outside = (count as f64 - 1.96 * (count as f64).sqrt()) / 2.0;
    let outside = outside.max(0.0) as usize;
    let (least, most) = (changes[outside], changes[count - 1 - outside]);
    Some(format!("{median:+.0} % ({least:+.0} … {most:+.0})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_heuristic_is_found_in_the_source() -> Result<()> {
        for heuristic in &HEURISTICS {
            let file = peers::root().join("..").join(heuristic.file);
            heuristic.taken_out_of(&fs::read_to_string(file)?)?;
        }
        Ok(())
    }

    #[test]
    fn an_interval_leaves_out_what_is_far_from_the_median() {
        let changes = (0..15).map(f64::from).collect();
        assert_eq!(interval(changes).as_deref(), Some("+7 % (+3 … +11)"));
        assert_eq!(interval(vec![-2.0]).as_deref(), Some("-2 % (-2 … -2)"));
        assert_eq!(interval(Vec::new()), None);
    }
}
