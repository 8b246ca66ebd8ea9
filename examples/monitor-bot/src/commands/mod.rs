//! The commands, in one place: what they are, and what they do. Nothing here knows who asks or how it looks.

mod database;
mod grammar;
mod help;
mod history;
mod script;
mod status;
mod watches;

pub use grammar::COMMANDS;
pub use status::greeting;

use crate::app::App;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::reply::Reply;
use crate::span::Span;

/// A command with everything it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// How the machine is; in full with every core, disk and interface.
    Status { full: bool },
    /// A metric over the last while.
    History { metric: Metric, span: Span },
    /// Watch a process.
    WatchAdd { name: String },
    /// Watch it no longer.
    WatchRemove { name: String },
    /// What is watched.
    WatchList,
    /// The versions of the program, the schema and SQLite.
    DbVersion,
    /// What can be typed.
    Help { topic: Option<String> },
    /// Let time pass.
    Wait { span: Span },
    /// Hold a made-up value, or let it go.
    Fake { metric: Metric, value: Option<f64> },
    /// Leave.
    Quit,
}

/// Does what was asked and answers.
pub async fn run(app: &App, command: Command) -> Result<Reply> {
    match command {
        Command::Nothing => Ok(Reply::default()),
        Command::Status { full } => status::status(app, full).await,
        Command::History { metric, span } => history::history(app, &metric, span).await,
        Command::WatchAdd { name } => watches::add(app, &name).await,
        Command::WatchRemove { name } => watches::remove(app, &name).await,
        Command::WatchList => watches::list(app).await,
        Command::DbVersion => database::version(app).await,
        Command::Help { topic } => help::help(topic.as_deref()),
        Command::Wait { span } => script::wait(app, span).await,
        Command::Fake { metric, value } => script::fake(app, metric, value),
        Command::Quit => Ok(Reply {
            quit: true,
            ..Reply::default()
        }),
    }
}

/// Reads a line and does what it says.
pub async fn answer(app: &App, line: &str) -> Result<Reply, Error> {
    run(app, line.parse()?).await
}
