use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::{Durability, Job, Limit, Result, Workload};

use crate::peers::{self, RAW};
use crate::samples::printed_by;
use crate::scratch::Scratch;

/// The instructions of so many calls more are counted, so that start and end cancel out.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;
const ROWS: u64 = 100_000;

/// A call that takes so much more than the figure in the repository is a regression.
const TOLERANCE: f64 = 0.05;

const SUBJECTS: [(&str, Workload); 5] = [
    (RAW, Workload::Read),
    (RAW, Workload::Insert),
    ("dbm", Workload::Read),
    ("dbm", Workload::Insert),
    ("dbm", Workload::Nothing),
];

type Figures = BTreeMap<String, u64>;

/// Counts the instructions of a call and compares them with the figures in the repository, or accepts the new ones.
pub(crate) fn run(bless: bool) -> Result<()> {
    if !peers::compile(&[RAW, "dbm"])?.contains(&"dbm") {
        return Err("dbm does not build".into());
    }
    let counted = count_all()?;
    if bless {
        return write(&counted);
    }
    let expected = read()?;
    println!("{:<16} {:>10} {:>10} {:>8}", "call", "was", "is", "change");
    let mut worse = Vec::new();
    for (call, is) in &counted {
        let was = expected
            .get(call)
            .ok_or_else(|| format!("no figure for {call}; run guard --bless"))?;
        let change = *is as f64 / *was as f64 - 1.0;
        println!("{call:<16} {was:>10} {is:>10} {:>+7.1}%", change * 100.0);
        if change > TOLERANCE {
            worse.push(call.as_str());
        }
    }
    match worse[..] {
        [] => Ok(()),
        _ => Err(format!("more instructions than before: {}", worse.join(", ")).into()),
    }
}

fn count_all() -> Result<Figures> {
    let scratch = Scratch::new()?;
    let mut figures = Figures::new();
    for (peer, workload) in SUBJECTS {
        eprintln!("counting {peer} {workload}");
        let few = instructions(peer, workload, FEW, &scratch)?;
        let many = instructions(peer, workload, MANY, &scratch)?;
        figures.insert(
            format!("{peer} {workload}"),
            many.saturating_sub(few) / (MANY - FEW),
        );
    }
    Ok(figures)
}

fn instructions(peer: &str, workload: Workload, calls: u64, scratch: &Scratch) -> Result<u64> {
    let job = Job {
        workload,
        tasks: 1,
        workers: 1,
        durability: Durability::Normal,
        limit: Limit::Calls(calls),
        path: scratch.fresh_copy(ROWS)?,
        rows: ROWS,
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
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
    let collected = log
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .ok_or("valgrind counted nothing")?
        .1;
    Ok(collected.trim().parse()?)
}

fn file() -> PathBuf {
    peers::root().join("instructions.txt")
}

fn read() -> Result<Figures> {
    let text =
        fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (call, count) = line
                .rsplit_once(' ')
                .ok_or_else(|| format!("not a figure: {line}"))?;
            Ok((call.to_owned(), count.parse()?))
        })
        .collect()
}

fn write(figures: &Figures) -> Result<()> {
    let rustc = printed_by(Command::new("rustc").arg("--version"))?;
    let sqlite = printed_by(Command::new(peers::program(RAW)?).arg("version"))?;
    let mut text =
        format!("# Instructions per call, {rustc}, SQLite {sqlite}. Written by `guard --bless`.\n");
    for (call, count) in figures {
        text += &format!("{call} {count}\n");
    }
    print!("{text}");
    Ok(fs::write(file(), text)?)
}
