//! One file for each command: what it reads, and how that is shown.

mod backup;
mod check;
mod jobs;
mod restore;
mod status;

use crate::Report;
use crate::error::Error;
use crate::options::{Command, Options};

pub(crate) async fn run(options: &Options) -> Result<Report, Error> {
    match &options.command {
        Command::Status { file } => status::run(file).await,
        Command::Backup { file, to } => backup::run(file, to).await,
        Command::Restore {
            file,
            backup,
            at_most,
        } => restore::run(file, backup, at_most).await,
        Command::Check { file } => check::run(file).await,
        Command::Jobs { file, limit } => jobs::run(file, *limit).await,
    }
}
