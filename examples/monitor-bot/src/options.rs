//! The command line.

use std::env;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::settings::Secret;

/// Watches this machine: samples it, keeps the history, answers commands.
///
/// Without options it opens a prompt; type `help` there. When standard input is not a terminal, commands are read
/// from it line by line.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Options {
    /// Where the database is kept [default: monitor-bot in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Keeps the history on a PostgreSQL server that other machines may share: postgres://… [default: a file in the data folder]
    #[arg(long, value_name = "URL")]
    pub database: Option<Secret>,

    /// Asks about another machine that shares the database
    #[arg(long, value_name = "NAME", conflicts_with_all = ["headless", "fake_metrics"])]
    pub host: Option<String>,

    /// The configuration file [default: monitor-bot.toml in the data folder, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Writes a configuration file with every default, and ends
    #[arg(long)]
    pub write_config: bool,

    /// Runs the commands of a file and ends; fails when one of them or an `expect` fails
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,

    /// Answers each command with one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Has no prompt: runs until it is told to stop, as a service does
    #[arg(long, conflicts_with = "script")]
    pub headless: bool,

    /// Where the status page is [default: 127.0.0.1:7575; none while a script or a pipe is read]
    #[cfg(feature = "web")]
    #[arg(long, value_name = "IP:PORT")]
    pub web: Option<std::net::SocketAddr>,

    /// Has no status page
    #[cfg(feature = "web")]
    #[arg(long, conflicts_with = "web")]
    pub no_web: bool,

    /// Shows in a minute how a database is made, migrated, kept from harm and closed
    #[arg(long, exclusive = true)]
    pub demo: bool,

    /// Measures a made-up machine instead of this one, in a database that is gone at the end unless --data-dir is given
    #[arg(long)]
    pub fake_metrics: bool,

    /// Chooses the made-up machine
    #[arg(long, value_name = "N", default_value_t = 1, requires = "fake_metrics")]
    pub seed: u64,

    /// What is logged to standard error: error, warn, info, debug, trace, or `target=level,…` [default: warn]
    #[arg(long, value_name = "LEVEL", value_parser = targets)]
    log: Option<Targets>,
}

impl Options {
    /// What is logged. Why the database did not open is told in any case, and need not be there twice.
    pub fn log(&self) -> Targets {
        self.log.clone().unwrap_or_else(|| {
            Targets::new()
                .with_default(LevelFilter::WARN)
                .with_target("dbm_core::lifecycle::start", LevelFilter::OFF)
        })
    }

    /// Whether someone types at a prompt.
    pub fn has_prompt(&self) -> bool {
        std::io::stdin().is_terminal() && self.script.is_none() && !self.headless
    }

    /// Whether it runs until it is told to stop.
    pub fn is_lasting(&self) -> bool {
        self.headless || self.has_prompt()
    }

    /// Where the data are; none for a made-up machine that need not be remembered.
    pub fn data_dir(&self) -> Option<PathBuf> {
        let usual = || (!self.fake_metrics).then(usual_data_dir);
        self.data_dir.clone().or_else(usual)
    }
}

/// A lone word is a level: [`Targets`] alone would take a misspelt one for the name of a target.
fn targets(text: &str) -> Result<Targets, String> {
    let unclear = || "write error, warn, info, debug, trace, off, or target=level,…".to_owned();
    let is_clear = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    if !text.split(',').all(is_clear) {
        return Err(unclear());
    }
    text.parse().map_err(|_| unclear())
}

/// The folder for a program's data, as the platform has it; `data` here where it has none.
fn usual_data_dir() -> PathBuf {
    let folder = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // A systemd unit with StateDirectory= says where.
    if let Some(state) = folder("STATE_DIRECTORY") {
        return state;
    }
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))
    };
    base.map_or_else(|| PathBuf::from("data"), |base| base.join("monitor-bot"))
}
