use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Contents, Job, Limit, Report, Result, Workload};

use crate::options::Measure;
use crate::peers::{self, RAW};
use crate::samples::{Journal, Sample, printed_by};
use crate::scratch::Scratch;
use crate::shim::Shim;
use crate::suite::{self, Setting};

/// A peer that takes longer than this on top of ten times its time is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures every setting on every peer, round after round, each in a process and with a database of its own. Leaves out
/// what was measured `before`.
pub(crate) fn all(
    options: &Measure,
    peers: &[&'static str],
    mut journal: Journal,
    before: Vec<Sample>,
) -> Result<Vec<Sample>> {
    let settings = suite::settings(&options.groups);
    let bench = Bench::new(&settings, options.time, options.workers)?;
    let mut samples = before;
    let taking_part = |setting| peers.iter().filter(move |peer| takes_part(peer, setting));
    let of_a_round: usize = settings
        .iter()
        .map(|setting| taking_part(*setting).count())
        .sum();
    let mut progress = Progress::new(options.rounds * of_a_round, samples.len());
    for round in 0..options.rounds {
        for setting in &settings {
            for peer in rotated(peers, round).filter(|peer| takes_part(peer, *setting)) {
                let is_it = |sample: &Sample| {
                    (&*sample.peer, sample.round, sample.setting) == (peer, round, *setting)
                };
                if samples.iter().any(is_it) {
                    continue;
                }
                let sample = bench.measure(peer, &peers::program(peer)?, *setting, round);
                journal.add(&sample)?;
                samples.push(sample);
                progress.step();
            }
        }
    }
    Ok(samples)
}

/// Says how far a run is, on a line that is written over again, or on one for each per cent.
pub(crate) struct Progress {
    begun: Instant,
    all: usize,
    before: usize,
    done: usize,
}

impl Progress {
    pub(crate) fn new(all: usize, before: usize) -> Self {
        Self {
            begun: Instant::now(),
            all,
            before,
            done: before,
        }
    }

    pub(crate) fn step(&mut self) {
        self.done += 1;
        let (all, done) = (self.all.max(1), self.done);
        let each = self.begun.elapsed().as_secs_f64() / (done - self.before) as f64;
        let minutes = each * all.saturating_sub(done) as f64 / 60.0;
        let line = format!(
            "{done} of {all} measured ({} %), about {minutes:.0} min left",
            100 * done / all
        );
        if std::io::stderr().is_terminal() {
            eprint!("\r{line:60}{}", if done == all { "\n" } else { "" });
        } else if 100 * done / all > 100 * (done - 1) / all {
            eprintln!("{line}");
        }
    }
}

/// No peer always runs in the wake of the same other one.
pub(crate) fn rotated<'a>(
    peers: &'a [&'static str],
    round: usize,
) -> impl Iterator<Item = &'static str> + 'a {
    (0..peers.len()).map(move |index| peers[(index + round) % peers.len()])
}

fn takes_part(peer: &str, setting: Setting) -> bool {
    match setting.workload {
        Workload::Nothing | Workload::Rows | Workload::Body => [RAW, "dbm"].contains(&peer),
        Workload::DropReads | Workload::DropInserts => peer == "dbm",
        _ => true,
    }
}

pub(crate) struct Bench {
    scratch: Scratch,
    time: Duration,
    workers: usize,
    shim: Option<Shim>,
}

impl Bench {
    pub(crate) fn new(settings: &[Setting], time: Duration, workers: usize) -> Result<Self> {
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
            time,
            workers,
            shim,
        })
    }

    pub(crate) fn measure(
        &self,
        peer: &str,
        program: &Path,
        setting: Setting,
        round: usize,
    ) -> Sample {
        let (outcome, fsyncs, lost) = match self.try_measure(program, setting) {
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

    fn try_measure(&self, program: &Path, setting: Setting) -> Result<(Report, Option<u64>, u64)> {
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
        let mut command = Command::new(program);
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
