//! monitor-bot watches a machine: it samples it, keeps the history in a database of dbm, raises alerts and answers
//! commands.
//!
//! Start reading in [`store`], the part that is made with dbm.

// A program has no outside that its items could be hidden from.
#![allow(unreachable_pub)]

#[macro_use]
mod error;

mod app;
mod clock;
mod commands;
mod demo;
mod front;
mod lock;
mod metric;
mod options;
mod place;
mod render;
mod reply;
mod rules;
mod sampler;
mod serve;
mod settings;
mod span;
mod store;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dbm_core::prelude::*;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing_subscriber::prelude::*;

use app::{App, Role};
use clock::Clock;
use error::{Error, Result};
use front::script::Script;
use front::{Ending, Screen, complain};
use options::Options;
use sampler::{Fake, Machine, Sampler};
use serve::PATIENCE;
use settings::Settings;
use store::Store;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(shown) => {
            let code = u8::try_from(shown.exit_code()).unwrap_or(2);
            return shown
                .print()
                .map_or_else(|error| ended(Err(error.into())), |()| code.into());
        }
    };
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .log_internal_errors(false),
        )
        .with(options.log())
        .init();
    ended(run(&options).await)
}

fn ended(ending: Result<Ending>) -> ExitCode {
    match ending {
        // Whoever reads from a pipe may have read enough.
        Ok(Ending::Done) | Err(Error::Unwritable(ErrorKind::BrokenPipe)) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Ending> {
    let screen = Screen::new(options.json);
    if options.demo {
        return demo::run(screen).await.map(|()| Ending::Done);
    }
    let data_dir = options.data_dir();
    let file = options
        .config
        .clone()
        .or_else(|| Some(data_dir.as_ref()?.join("monitor-bot.toml")));
    if options.write_config {
        let file = file.unwrap_or_else(|| "monitor-bot.toml".into());
        Settings::write_defaults(&file)?;
        screen.line(format_args!("monitor-bot: wrote {}", file.display()))?;
        return Ok(Ending::Done);
    }
    let settings = match file {
        Some(file) if options.config.is_some() || file.exists() => Settings::read(&file)?,
        _ => Settings::default(),
    };
    if options.host.is_some() && options.has_prompt() {
        refuse!(
            "--host asks about another machine, and has no prompt: echo \"alerts\" | monitor-bot --host …"
        );
    }
    // A script that cannot be read ends the run before anything is touched.
    let script = options
        .script
        .clone()
        .map(|path| Script::read(path, screen))
        .transpose()?;

    // What is only asked about another machine needs no folder of this one.
    let folder = data_dir.as_deref().filter(|_| options.host.is_none());
    let lock = folder.map(lock::lock).transpose()?.flatten();
    let is_guest = data_dir.is_some() && lock.is_none();
    if let Some(folder) = &data_dir
        && is_guest
        && (options.is_lasting() || options.fake_metrics)
    {
        refuse!(
            "Another monitor-bot stores its readings in {}. Stop that one first, or give this one a folder of its own with \
             --data-dir. To ask that one, pipe commands in: echo status | monitor-bot",
            folder.display()
        );
    }

    let store = place::open(options, &settings).await?;
    let role = if is_guest { Role::Guest } else { Role::Keeper };
    let started = start(options, Arc::clone(&store), settings, role).await;
    let mut beside = JoinSet::new();
    let ending = match &started {
        Ok(app) => serve::serve(options, app, &mut beside, script, screen).await,
        Err(error) => Err(error.clone()),
    };
    store
        .close_within(PATIENCE)
        .await
        .map_err(|error| refused!("The database was not closed in order: {error}"))?;
    // What does not end by itself is ended when the set is dropped.
    let _ = timeout(PATIENCE, async {
        while beside.join_next().await.is_some() {}
    })
    .await;
    let ending = ending?;
    if let Ok(app) = started
        && !screen.is_json()
    {
        let count = match app.stored() {
            1 => "1 reading".to_owned(),
            count => format!("{count} readings"),
        };
        screen.line(format_args!(
            "monitor-bot: closed in order, {count} stored."
        ))?;
    }
    Ok(ending)
}

/// Makes the application of its parts.
async fn start(
    options: &Options,
    store: Arc<Store>,
    settings: Settings,
    role: Role,
) -> Result<Arc<App>> {
    let sampler: Option<Box<dyn Sampler>> = match options.host {
        Some(_) => None,
        None if options.fake_metrics => Some(Box::new(Fake::new(options.seed))),
        None => Some(Box::new(tokio::task::block_in_place(Machine::new)?)),
    };
    let clock = match options.fake_metrics {
        true => Clock::virtual_after(store.last_sample().await?),
        false => Clock::System,
    };
    let data_dir = options.data_dir();
    App::start(store, sampler, clock, settings, data_dir, role).await
}
