//! Builds every peer, measures them in turn, and writes down what it saw.

mod document;
mod guard;
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

use std::process::ExitCode;

use harness::Result;

use crate::options::{Command, Measure, USAGE};
use crate::samples::{Machine, Samples};

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
        Command::Render => document::write(&Samples::load(&peers::results_file())?),
        Command::Guard { bless } => guard::run(bless),
    }
}

fn measure(options: &Measure) -> Result<()> {
    let peers = peers::compile(&options.peers)?;
    let samples = Samples {
        machine: Machine::read(&peers)?,
        taken: measure::all(options, &peers)?,
    };
    println!("tokio workers: {}\n", options.workers);
    println!("{}", tables::overview(&samples));
    println!("{}", tables::details(&samples));
    if options.is_complete() && peers.len() == options.peers.len() {
        samples.save(&peers::results_file())?;
        document::write(&samples)
    } else {
        document::write_aside(&samples)
    }
}
