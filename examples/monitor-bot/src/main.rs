//! monitor-bot watches a machine: it samples it, keeps the history in a database of dbm, and answers commands.
//!
//! Start reading in [`store`], the part that is made with dbm.

// A program has no outside that its items could be hidden from.
#![allow(unreachable_pub)]

mod app;
mod clock;
mod commands;
mod error;
mod front;
mod metric;
mod options;
mod render;
mod reply;
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
use front::{Ending, FrontEnd, Screen};
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
    match run(options).await {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("monitor-bot: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<Ending> {
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
    let screen = Screen::new(options.json);
    let script = options
        .script
        .clone()
        .map(|path| front::script::Script::read(path, screen))
        .transpose()?;

    let config = data_dir
        .as_ref()
        .map_or_else(Config::in_memory, Config::new);
    let store = Store::open(config.db_name("monitor.db"), settings.keep);
    store.ensure_ready().await?;
    let app = start(&options, Arc::clone(&store), settings).await;
    let ending = match app {
        Ok(app) => {
            let ending = serve(&options, Arc::clone(&app), script, screen).await;
            app.stop();
            farewell(screen, &app, store.close_within(PATIENCE).await)?;
            ending?
        }
        Err(error) => {
            store.close().await?;
            return Err(error);
        }
    };
    Ok(ending)
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

/// Runs one front end, with sampling beside it, until either it or the operating system has had enough.
async fn serve(
    options: &Options,
    app: Arc<App>,
    script: Option<front::script::Script>,
    screen: Screen,
) -> Result<Ending> {
    // The time of a script with made-up metrics passes only where it says so.
    if script.is_none() || !app.clock.is_virtual() {
        tokio::spawn(Arc::clone(&app).collect());
    }
    let history = app
        .data_dir
        .as_ref()
        .map(|directory| directory.join("typed.txt"));
    let front: std::pin::Pin<Box<dyn Future<Output = Ending> + Send>> = if let Some(script) = script
    {
        Box::pin(script.run(Arc::clone(&app)))
    } else if options.headless {
        Box::pin(front::headless::Headless.run(Arc::clone(&app)))
    } else if std::io::stdin().is_terminal() {
        Box::pin(front::console::Console::open(screen, history)?.run(Arc::clone(&app)))
    } else {
        Box::pin(front::lines::Lines { screen }.run(Arc::clone(&app)))
    };
    tokio::select! {
        ending = front => Ok(ending),
        () = told_to_stop() => Ok(Ending::Done),
    }
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

/// The last line says how it ended.
fn farewell(screen: Screen, app: &App, closed: dbm_core::Result<()>) -> Result<()> {
    closed.map_err(|error| {
        Error::refused(format!("The database was not closed in order: {error}"))
    })?;
    if !screen.is_json() {
        let count = app.stored();
        // Nobody may be there to read it.
        let _ = screen.write(&format!(
            "monitor-bot: closed in order, {count} readings stored.\n"
        ));
    }
    Ok(())
}
