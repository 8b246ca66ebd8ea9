//! Builds every peer, measures them in turn, and writes down what it saw.

mod document;
mod guard;
mod heuristics;
mod measure;
mod options;
mod peers;
mod plot;
mod samples;
mod scratch;
mod shim;
mod suite;
mod table;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use harness::Result;

use crate::options::{Command, Measure, USAGE};
use crate::samples::{Journal, Machine, Samples};

fn main() -> ExitCode {
    match Command::from_args(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Command::Measure(options) => measure(&options),
        Command::Render => render(),
        Command::Show => {
            let samples = Journal::read(&peers::journal()?)?;
            print(&samples);
            document::write_aside(&samples)
        }
        Command::Heuristics(options) => heuristics::run(&options),
        Command::Guard { bless } => guard::run(bless),
    }
}

fn measure(options: &Measure) -> Result<()> {
    let peers = peers::compile(&options.peers)?;
    let machine = Machine::read(&peers, options.rounds, options.time)?;
    let (journal, before) = Journal::open(&peers::journal()?, &machine, options.resume)?;
    let samples = Samples {
        machine,
        taken: measure::all(options, &peers, journal, before)?,
    };
    println!("tokio workers: {}\n", options.workers);
    print(&samples);
    if options.is_complete() && peers.len() == options.peers.len() {
        samples.save(&place_of(&samples.machine))?;
        render()
    } else {
        document::write_aside(&samples)
    }
}

fn print(samples: &Samples) {
    println!("{}", tables::overview(samples));
    println!("{}", tables::details(samples));
    println!("{}", tables::grown(samples));
}

/// The results of another processor do not take the place of those of the first.
fn place_of(machine: &Machine) -> PathBuf {
    let [first, other] = peers::results_files();
    match Samples::load(&first) {
        Ok(samples) if !samples.machine.is_like(machine) => other,
        _ => first,
    }
}

fn render() -> Result<()> {
    let [first, other] = peers::results_files();
    let other = other.exists().then(|| Samples::load(&other)).transpose()?;
    document::write(&Samples::load(&first)?, other.as_ref())
}
