mod callgrind;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::{Durability, Job, Limit, Result, Workload};

use self::callgrind::{Counts, Disassembly};
use crate::peers::{self, RAW};
use crate::samples::printed_by;
use crate::scratch::Scratch;

/// Two lengths of the same loop are counted. The difference is that of so many calls: start and end cancel out, up to a few
/// hundred thousand instructions, for a database is not always closed by the same thread.
const fn calls(workload: Workload) -> u64 {
    match workload {
        Workload::Nothing => 20_000,
        _ => 5_000,
    }
}

const ROWS: u64 = 100_000;

const SUBJECTS: [(&str, Workload); 5] = [
    (RAW, Workload::Read),
    (RAW, Workload::Insert),
    ("dbm", Workload::Read),
    ("dbm", Workload::Insert),
    ("dbm", Workload::Nothing),
];

/// What one call costs, on the thread that makes it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    instructions: f64,
    locked: f64,
    allocations: f64,
}

/// So much more than the figure in the repository is a regression: of instructions a part, of the others a number.
const TOLERANCE: Cost = Cost {
    instructions: 0.01,
    locked: 0.5,
    allocations: 0.1,
};

type Costs = BTreeMap<String, Cost>;

/// Counts what a call costs and compares it with the figures in the repository, or accepts the new ones.
pub(crate) fn run(bless: bool) -> Result<()> {
    if !peers::compile(&[RAW, "dbm"])?.contains(&"dbm") {
        return Err("dbm does not build".into());
    }
    let counted = count_all()?;
    if bless {
        return write(&counted);
    }
    let expected = read()?;
    let head = ["call", "instructions", "locked", "allocations"];
    println!(
        "{:<12} {:>24} {:>16} {:>16}",
        head[0], head[1], head[2], head[3]
    );
    let mut worse = Vec::new();
    for (call, is) in &counted {
        let was = expected
            .get(call)
            .ok_or_else(|| format!("no figure for {call}; run guard --bless"))?;
        println!(
            "{call:<12} {:>14} {:>+7.1} % {:>7} → {:>6} {:>7} → {:>6}",
            tenths(is.instructions),
            100.0 * (is.instructions / was.instructions - 1.0),
            tenths(was.locked),
            tenths(is.locked),
            tenths(was.allocations),
            tenths(is.allocations),
        );
        if is.is_worse_than(was) {
            worse.push(call.as_str());
        }
    }
    match worse[..] {
        [] => Ok(()),
        _ => Err(format!("a call costs more than before: {}", worse.join(", ")).into()),
    }
}

impl Cost {
    fn is_worse_than(&self, was: &Self) -> bool {
        self.instructions > was.instructions * (1.0 + TOLERANCE.instructions)
            || self.locked > was.locked + TOLERANCE.locked
            || self.allocations > was.allocations + TOLERANCE.allocations
    }

    fn between(few: Counts, many: Counts, calls: u64) -> Self {
        let of_one = |few: u64, many: u64| many.saturating_sub(few) as f64 / calls as f64;
        Self {
            instructions: of_one(few.instructions, many.instructions),
            locked: of_one(few.locked, many.locked),
            allocations: of_one(few.allocations, many.allocations),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instructions,
            locked,
            allocations,
        } = self;
        write!(f, "{instructions:.0} {locked:.1} {allocations:.1}")
    }
}

fn tenths(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        _ => format!("{figure:.1}"),
    }
}

fn count_all() -> Result<Costs> {
    let scratch = Scratch::new()?;
    let mut disassembly = Disassembly::default();
    let mut costs = Costs::new();
    for (peer, workload) in SUBJECTS {
        eprintln!("counting {peer} {workload}");
        let calls = calls(workload);
        let few = count(peer, workload, calls, &scratch, &mut disassembly)?;
        let many = count(peer, workload, 2 * calls, &scratch, &mut disassembly)?;
        let cost = Cost::between(few, many, calls);
        costs.insert(format!("{peer} {workload}"), cost);
    }
    Ok(costs)
}

fn count(
    peer: &str,
    workload: Workload,
    calls: u64,
    scratch: &Scratch,
    disassembly: &mut Disassembly,
) -> Result<Counts> {
    let job = Job {
        workload,
        tasks: 1,
        workers: 1,
        durability: Durability::Normal,
        limit: Limit::Calls(calls),
        path: scratch.fresh_copy(ROWS)?,
        rows: ROWS,
    };
    let out = scratch.own().join("callgrind");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes"])
        // A file for each thread: what others do meanwhile depends on the clock.
        .arg("--separate-threads=yes")
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(peers::program(peer)?)
        .args(job.to_args())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let report: harness::Report =
        serde_json::from_slice(&output.stdout).map_err(|_| log.trim().to_owned())?;
    if let Some(error) = report.first_error {
        return Err(format!("{peer} {workload}: {error}").into());
    }
    callgrind::counts(&out.with_file_name("callgrind-01"), disassembly)
}

fn file() -> PathBuf {
    peers::root().join("instructions.txt")
}

fn read() -> Result<Costs> {
    let text =
        fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(parsed)
        .collect()
}

fn parsed(line: &str) -> Result<(String, Cost)> {
    let words: Vec<_> = line.split(' ').collect();
    let [peer, workload, instructions, locked, allocations] = words[..] else {
        return Err(format!("not a figure: {line}").into());
    };
    let cost = Cost {
        instructions: instructions.parse()?,
        locked: locked.parse()?,
        allocations: allocations.parse()?,
    };
    Ok((format!("{peer} {workload}"), cost))
}

fn write(costs: &Costs) -> Result<()> {
    let rustc = printed_by(Command::new("rustc").arg("--version"))?;
    let sqlite = printed_by(Command::new(peers::program(RAW)?).arg("version"))?;
    let mut text = format!(
        "# Instructions, locked instructions and allocations of a call, {rustc}, SQLite {sqlite}. Written by `guard --bless`.\n"
    );
    for (call, cost) in costs {
        text += &format!("{call} {cost}\n");
    }
    print!("{text}");
    Ok(fs::write(file(), text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_in_the_repository_are_read_as_they_are_written() -> Result<()> {
        let cost = Cost {
            instructions: 13_856.0,
            locked: 73.5,
            allocations: 8.0,
        };
        let read = parsed(&format!("dbm read {cost}"))?;
        assert_eq!(read, ("dbm read".to_owned(), cost));
        assert!(parsed("dbm read 13856").is_err());
        read_all()
    }

    fn read_all() -> Result<()> {
        let costs = read()?;
        assert_eq!(costs.len(), SUBJECTS.len());
        Ok(())
    }
}
