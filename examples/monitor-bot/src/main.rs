//! monitor-bot watches a machine: it samples it, keeps the history in a database of dbm, raises alerts and answers
//! commands.
//!
//! Start reading in [`store`], the part that is made with dbm.

// A program has no outside that its items could be hidden from.
#![allow(unreachable_pub)]

mod app;
mod clock;
mod commands;
mod demo;
mod error;
mod front;
mod metric;
mod options;
mod render;
mod reply;
mod rules;
mod sampler;
mod settings;
mod span;
mod store;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use dbm_core::prelude::*;
use tracing_subscriber::prelude::*;

use app::App;
use clock::Clock;
use error::{Error, Result};
use front::script::Script;
use front::{Ending, FrontEnd, Screen, console, headless, lines};
use options::Options;
use sampler::Sampler;
use settings::Settings;
use store::Store;

/// How long calls that run when the bot is told to stop may go on.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false),
        )
        .with(options.log.clone())
        .init();
    match run(&options).await {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("monitor-bot: {error}");
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
        println!("monitor-bot: wrote {}", file.display());
        return Ok(Ending::Done);
    }
    let settings = match file {
        Some(file) if options.config.is_some() || file.exists() => Settings::read(&file)?,
        _ => Settings::default(),
    };
    // A script that cannot be read ends the run before anything is touched.
    let script = options
        .script
        .clone()
        .map(|path| Script::read(path, screen))
        .transpose()?;

    let config = data_dir
        .as_ref()
        .map_or_else(Config::in_memory, Config::new);
    let store = Store::open(config.db_name("monitor.db"), settings.keep);
    store.ensure_ready().await?;
    let started = start(options, Arc::clone(&store), settings).await;
    let ending = match &started {
        Ok(app) => serve(options, app, script, screen).await,
        Err(error) => Err(error.clone()),
    };
    store.close_within(PATIENCE).await.map_err(|error| {
        Error::refused(format!("The database was not closed in order: {error}"))
    })?;
    if let Ok(app) = started
        && !screen.is_json()
    {
        // Nobody may be there to read it.
        let _ = screen.write(&format!(
            "monitor-bot: closed in order, {} readings stored.\n",
            app.stored()
        ));
    }
    ending
}

/// Makes the application of its parts.
async fn start(options: &Options, store: Arc<Store>, settings: Settings) -> Result<Arc<App>> {
    let (sampler, clock) = if options.fake_metrics {
        (
            Sampler::fake(options.seed),
            Clock::virtual_after(store.last_sample().await?),
        )
    } else {
        (
            tokio::task::block_in_place(Sampler::machine)?,
            Clock::System,
        )
    };
    App::start(store, sampler, clock, settings, options.data_dir()).await
}

/// Runs the front ends, with sampling beside them, until whoever is served or the operating system has had enough.
async fn serve(
    options: &Options,
    app: &Arc<App>,
    script: Option<Script>,
    screen: Screen,
) -> Result<Ending> {
    let alone = script.is_none() && (options.headless || std::io::stdin().is_terminal());
    let mut beside = tokio::task::JoinSet::new();
    // The time of a script with made-up metrics passes only where it says so.
    if !app.clock.is_virtual() || alone {
        beside.spawn(Arc::clone(app).collect());
    }
    #[cfg(feature = "web")]
    if let Some(web) = page(options, app, alone).await? {
        beside.spawn(ignore_ending(web.run(Arc::clone(app))));
    }
    #[cfg(feature = "discord")]
    if let Some(discord) =
        front::discord::Discord::from_env(app.settings.discord.clone()).filter(|_| alone)
    {
        beside.spawn(ignore_ending(discord.run(Arc::clone(app))));
    }
    let history = app
        .data_dir
        .as_ref()
        .map(|directory| directory.join("typed.txt"));
    let served = async {
        match script {
            Some(script) => Ok(script.run(Arc::clone(app)).await),
            None if options.headless => {
                Ok(headless::Headless { screen }.run(Arc::clone(app)).await)
            }
            None if alone => Ok(console::Console::open(screen, history)?
                .run(Arc::clone(app))
                .await),
            None => Ok(lines::Lines { screen }.run(Arc::clone(app)).await),
        }
    };
    let ending = tokio::select! {
        ending = served => ending,
        () = told_to_stop() => Ok(Ending::Done),
    };
    app.stop();
    // What does not end by itself is ended when the set is dropped.
    let _ = tokio::time::timeout(PATIENCE, async {
        while beside.join_next().await.is_some() {}
    })
    .await;
    ending
}

#[cfg(any(feature = "web", feature = "discord"))]
async fn ignore_ending(front: impl Future<Output = Ending>) {
    // It has said why, and the bot goes on without it.
    front.await;
}

/// The status page, where one is wanted. Only an address that was asked for by name has to be free.
#[cfg(feature = "web")]
async fn page(options: &Options, app: &App, alone: bool) -> Result<Option<front::web::Web>> {
    use front::web::Web;
    let usual = app.settings.web;
    let web = match options.web {
        Some(address) => Web::bind(address).await?,
        None if !alone || options.no_web || !usual.enabled => return Ok(None),
        None => match Web::bind(usual.address).await {
            Ok(web) => web,
            Err(error) => {
                eprintln!(
                    "monitor-bot: {error} Choose another one with --web, or none with --no-web."
                );
                return Ok(None);
            }
        },
    };
    if let Some(address) = web.address() {
        let _ = app.page.set(address);
    }
    Ok(Some(web))
}

/// Ctrl-C, or what a service manager sends.
async fn told_to_stop() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
