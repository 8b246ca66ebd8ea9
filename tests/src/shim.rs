//! Runs a program whose file system is broken on purpose, with `shim/shim.c` between the two.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use crate::{LIMIT, skip};

/// The directory of the compiled shim.
#[derive(Debug)]
pub struct Shim(PathBuf);

const LIBRARY: &str = "shim.so";

/// What happens to which calls. The default only counts them.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// The calls that are counted, between commas; all when empty.
    pub calls: &'static str,
    /// Which of them is hit, from 1; with 0 none is, and all are written down.
    pub at: usize,
    /// `kill`, `kill-after`, `tear`, `short` or an error number.
    pub act: String,
    /// How many in a row are hit.
    pub times: Times,
}

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    /// One call.
    #[default]
    Once,
    /// What is tried again at once, or in another way, fails too.
    Thrice,
    /// Until the program ends.
    FromThenOn,
}

/// What became of the program.
#[derive(Debug)]
pub struct Outcome {
    /// What it said.
    pub lines: Vec<String>,
    /// What it complained of.
    pub complaints: String,
    /// Whether it was killed by the shim.
    pub killed: bool,
    /// Calls that were met, as `name file`: all of them when none was to be hit, otherwise the first that was.
    pub calls: Vec<String>,
}

impl Shim {
    /// Compiles it into `target`, once, with the system's compiler; says so and gives `None` where that cannot be done.
    #[must_use]
    pub fn get(test: &str, target: &Path) -> Option<&'static Self> {
        static SHIM: OnceLock<Result<Shim, String>> = OnceLock::new();
        match SHIM.get_or_init(|| Self::compile(target)) {
            Ok(shim) => Some(shim),
            Err(why) => {
                skip(test, why);
                None
            }
        }
    }

    fn compile(target: &Path) -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Err("the shim is written for Linux with glibc".to_owned());
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/shim.c");
        // Who runs the tests may not be who built them.
        let elsewhere = tempfile::tempfile_in(target).is_err();
        let target = if elsewhere {
            &tempfile::tempdir().unwrap().keep()
        } else {
            target
        };
        // Other test programs may be at it too.
        let unfinished = target.join(format!("shim-{}.so", std::process::id()));
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O0"])
            .arg("-o")
            .arg(&unfinished)
            .arg(source)
            .arg("-ldl")
            .output()
            .map_err(|error| format!("no C compiler: {error}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the shim: {errors}");
        fs::rename(unfinished, target.join(LIBRARY)).unwrap();
        Ok(Self(target.to_owned()))
    }

    /// Runs a program to its end. What concerns `directory` is counted, and hit as the fault says; with `record`
    /// every change of it is written to that file.
    ///
    /// # Errors
    ///
    /// That it hangs.
    pub fn run(
        &self,
        command: &mut Command,
        directory: &Path,
        fault: &Fault,
        record: Option<&Path>,
    ) -> Result<Outcome, String> {
        let log = directory.with_extension("log");
        let _ = fs::remove_file(&log);
        command
            // Between the names in LD_PRELOAD are spaces, which a path may have, too.
            .env("LD_PRELOAD", LIBRARY)
            .env("LD_LIBRARY_PATH", &self.0)
            .env("SHIM_DIR", directory)
            .env("SHIM_LOG", &log)
            .env("SHIM_AT", fault.at.to_string())
            .env("SHIM_DO", &fault.act);
        if !fault.calls.is_empty() {
            command.env("SHIM_CALLS", format!(",{},", fault.calls));
        }
        let times = match fault.times {
            Times::Once => "1",
            Times::Thrice => "3",
            Times::FromThenOn => "1000000000",
        };
        command.env("SHIM_TIMES", times);
        if let Some(record) = record {
            command.env("SHIM_RECORD", record);
        }
        let mut outcome = finish(command)?;
        let log = fs::read_to_string(log).map_err(|_| "the shim was not there".to_owned())?;
        outcome.calls = log
            .lines()
            .filter_map(|line| Some(line.split_once(' ')?.1.to_owned()))
            .collect();
        Ok(outcome)
    }
}

impl Outcome {
    /// All of this in a line, for messages.
    #[must_use]
    pub fn report(&self) -> String {
        let met = self.calls.last().map_or("nothing", String::as_str);
        format!("it met {met} and said {:?} {}", self.lines, self.complaints)
    }

    /// Whether it said this.
    #[must_use]
    pub fn said(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    /// What it saw that must not be.
    #[must_use]
    pub fn violation(&self) -> Option<&String> {
        self.lines.iter().find(|line| line.contains("violation:"))
    }
}

/// Runs a program to its end, or to the end of patience.
fn finish(command: &mut Command) -> Result<Outcome, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    let output = read_on_thread(child.stdout.take().unwrap(), sender.clone(), true);
    let complaints = read_on_thread(child.stderr.take().unwrap(), sender, false);
    let mut texts = BTreeMap::new();
    while texts.len() < 2 {
        match receiver.recv_timeout(LIMIT) {
            Ok((is_output, text)) => texts.insert(is_output, text),
            Err(_) => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err("it hangs".to_owned());
            }
        };
    }
    output.join().unwrap();
    complaints.join().unwrap();
    let status = child.wait().unwrap();
    let mut text = |is_output| texts.remove(&is_output).unwrap_or_default();
    Ok(Outcome {
        lines: text(true).lines().map(str::to_owned).collect(),
        complaints: text(false),
        killed: status.signal() == Some(9),
        calls: Vec::new(),
    })
}

fn read_on_thread(
    mut stream: impl Read + Send + 'static,
    sender: mpsc::Sender<(bool, String)>,
    is_output: bool,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        let _ = sender.send((is_output, text));
    })
}
