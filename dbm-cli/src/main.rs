//! `dbm`: looks at the database of a program that uses dbm-core, copies it, and restores a copy. It never migrates a file.

mod commands;
mod error;
mod file;
mod options;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use serde::Serialize;

use error::Error;
use options::Options;

/// Exit codes. Clap, too, gives 2 for an error of usage.
const FINDINGS: u8 = 1;
const ERROR: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match commands::run(&options).await {
        Ok(report) => {
            let text = if options.json {
                report.json
            } else {
                report.text
            };
            let printed = writeln!(io::stdout(), "{}", text.trim_end());
            match printed {
                // The reader has seen enough.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(ERROR),
                _ if report.has_findings => ExitCode::from(FINDINGS),
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            // Nothing can be done if this cannot be printed either.
            let _ = if options.json {
                writeln!(io::stdout(), "{}", error.to_json())
            } else {
                writeln!(io::stderr(), "dbm: {error}")
            };
            ExitCode::from(ERROR)
        }
    }
}

/// What a command has found, in both forms.
struct Report {
    text: String,
    json: String,
    has_findings: bool,
}

impl Report {
    fn new(found: &(impl Display + Serialize), has_findings: bool) -> Result<Self, Error> {
        Ok(Self {
            text: found.to_string(),
            json: serde_json::to_string_pretty(found).map_err(dbm_core::Error::other)?,
            has_findings,
        })
    }
}
