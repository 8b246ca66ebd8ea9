//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use dbm_core::Version;

/// Looks at the database of a program that uses dbm-core, copies it, and restores a copy. It never migrates a file.
#[derive(Debug, Parser)]
#[command(name = "dbm", version, after_help = EXIT_CODES)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON object, also for an error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

const EXIT_CODES: &str = "Exit codes:
  0  done, and nothing is wrong
  1  the command has found something: damage, or dead jobs
  2  an error: the command line, or the file cannot be opened";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the version of the schema and the size of the file and its log.
    Status {
        /// The database file.
        file: PathBuf,
    },
    /// Check the whole file: pages, indexes, NOT NULL, UNIQUE and foreign keys.
    Check {
        /// The database file.
        file: PathBuf,
    },
    /// Copy the database to a new file, also while programs use it.
    Backup {
        /// The database file.
        file: PathBuf,
        /// The new file; nothing is overwritten.
        to: PathBuf,
    },
    /// Put a backup in the place of a database that no program has open. The file that was there is kept.
    Restore {
        /// The database file, which may be damaged or missing.
        file: PathBuf,
        /// The backup.
        backup: PathBuf,
        /// The version that the program needs: a newer backup is refused.
        #[arg(long, value_name = "VERSION")]
        at_most: Version,
    },
    /// List the jobs that wait, run or have failed for good.
    Jobs {
        /// The database file.
        file: PathBuf,
        /// List no more than this many; the dead ones come first.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}
