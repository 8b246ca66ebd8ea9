use std::io::{IsTerminal, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Contents, Job, Limit, Report, Result, Workload};

use crate::options::Measure;
use crate::peers::{self, RAW};
use crate::samples::{Sample, printed_by};
use crate::scratch::Scratch;
use crate::shim::Shim;
use crate::suite::{self, Setting};

/// A peer that takes longer than this on top of ten times its time is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures every setting on every peer, round after round, each in a process and with a database of its own.
pub(crate) fn all(options: &Measure, peers: &[&'static str]) -> Result<Vec<Sample>> {
    let settings = suite::settings(&options.groups);
    let bench = Bench::new(&settings, options)?;
    let mut samples = Vec::new();
    for round in 0..options.rounds {
        for (index, setting) in settings.iter().enumerate() {
            progress(&format!(
                "round {} of {}, setting {} of {}",
                round + 1,
                options.rounds,
                index + 1,
                settings.len()
            ));
            for peer in rotated(peers, round).filter(|peer| takes_part(peer, *setting)) {
                samples.push(bench.measure(peer, *setting, round));
            }
        }
    }
    progress("");
    Ok(samples)
}

/// One line that is written over again, for whoever watches.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{line:60}\r");
    }
}

/// No peer always runs in the wake of the same other one.
fn rotated<'a>(peers: &'a [&'static str], round: usize) -> impl Iterator<Item = &'static str> + 'a {
    (0..peers.len()).map(move |index| peers[(index + round) % peers.len()])
}

fn takes_part(peer: &str, setting: Setting) -> bool {
    setting.workload != Workload::Nothing || [RAW, "dbm"].contains(&peer)
}

struct Bench {
    scratch: Scratch,
    time: Duration,
    workers: usize,
    shim: Option<Shim>,
}

impl Bench {
    fn new(settings: &[Setting], options: &Measure) -> Result<Self> {
        let scratch = Scratch::new()?;
        for setting in settings {
            scratch.seed(setting.rows)?;
        }
        let shim = match settings.iter().any(|setting| setting.fsync_us.is_some()) {
            true => Some(Shim::compile(scratch.own())?),
            false => None,
        };
        Ok(Self {
            scratch,
            time: options.time,
            workers: options.workers,
            shim,
        })
    }

    fn measure(&self, peer: &str, setting: Setting, round: usize) -> Sample {
        let (outcome, fsyncs, lost) = match self.try_measure(peer, setting) {
            Ok((report, fsyncs, lost)) => (Ok(report), fsyncs, lost),
            Err(error) => {
                eprintln!("warning: {peer} on {setting:?}: {error}");
                (Err(error.to_string()), None, 0)
            }
        };
        Sample {
            peer: peer.to_owned(),
            round,
            setting,
            outcome,
            fsyncs,
            lost,
        }
    }

    fn try_measure(&self, peer: &str, setting: Setting) -> Result<(Report, Option<u64>, u64)> {
        let path = self.scratch.fresh_copy(setting.rows)?;
        let job = Job {
            workload: setting.workload,
            tasks: setting.tasks,
            workers: self.workers,
            durability: setting.durability,
            limit: Limit::Time(self.time),
            path: path.clone(),
            rows: setting.rows,
        };
        let mut command = Command::new(peers::program(peer)?);
        command.args(job.to_args());
        if let (Some(shim), Some(delay)) = (&self.shim, setting.fsync_us) {
            shim.load_into(&mut command, delay);
        }
        let report: Report =
            serde_json::from_str(&output_within(&mut command, self.time * 10 + PATIENCE)?)?;
        let fsyncs = match (&self.shim, setting.fsync_us) {
            (Some(shim), Some(_)) => Some(shim.count()?),
            _ => None,
        };
        let found: Contents = serde_json::from_str(&printed_by(
            Command::new(peers::program(RAW)?)
                .arg("contents")
                .arg(&path),
        )?)?;
        let lost_rows = (setting.rows + report.inserted).saturating_sub(found.rows);
        let lost_increments = report.incremented.saturating_sub(found.counter);
        Ok((report, fsyncs, lost_rows + lost_increments))
    }
}

fn output_within(command: &mut Command, time: Duration) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let status = wait_within(&mut child, time)?;
    let (mut output, mut errors) = (String::new(), String::new());
    child
        .stdout
        .take()
        .ok_or("no output")?
        .read_to_string(&mut output)?;
    child
        .stderr
        .take()
        .ok_or("no errors")?
        .read_to_string(&mut errors)?;
    match status.success() {
        true => Ok(output),
        false => Err(format!("{status}: {}", errors.trim()).into()),
    }
}

fn wait_within(child: &mut Child, time: Duration) -> Result<std::process::ExitStatus> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("stuck: not finished after {time:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
