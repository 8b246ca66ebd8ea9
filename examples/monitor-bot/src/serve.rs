//! Which front ends run, and until when.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::App;
use crate::error::Result;
use crate::front::console::Console;
use crate::front::headless::Headless;
use crate::front::lines::Lines;
use crate::front::script::Script;
use crate::front::{Ending, FrontEnd, Screen};
use crate::options::Options;

/// How long a reading that is being stored is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs one front end, with sampling and others beside it, until whoever is served or the operating system has
/// had enough.
#[cfg_attr(
    not(any(feature = "web", feature = "discord")),
    allow(unused_variables)
)]
pub async fn serve(
    options: &Options,
    app: &Arc<App>,
    beside: &mut JoinSet<()>,
    script: Option<Script>,
    screen: Screen,
) -> Result<Ending> {
    let prompt = std::io::stdin().is_terminal() && script.is_none() && !options.headless;
    let lasting = options.headless || prompt;
    #[cfg(feature = "web")]
    if let Some(web) = page(options, app, lasting).await? {
        beside.spawn(ignore_ending(web.run(Arc::clone(app))));
    }
    #[cfg(feature = "discord")]
    if lasting
        && let Some(discord) =
            crate::front::discord::Discord::from_env(app.settings.discord.clone())
    {
        beside.spawn(ignore_ending(discord.run(Arc::clone(app))));
    }
    // The time of a script with made-up metrics passes only where it says so.
    let collector =
        (!app.clock.is_virtual() || lasting).then(|| tokio::spawn(Arc::clone(app).collect()));
    let served = async {
        let app = Arc::clone(app);
        match script {
            Some(script) => Ok(script.run(app).await),
            None if options.headless => Ok(Headless { screen }.run(app).await),
            None if prompt => {
                let history = app
                    .data_dir
                    .as_ref()
                    .map(|directory| directory.join("typed.txt"));
                Ok(Console::open(screen, history)?.run(app).await)
            }
            None => Ok(Lines { screen }.run(app).await),
        }
    };
    let ending = tokio::select! {
        ending = served => ending,
        () = told_to_stop() => {
            if prompt {
                // What comes now does not belong behind what was being typed.
                let _ = screen.write("\n");
            }
            Ok(Ending::Done)
        }
    };
    app.stop();
    if let Some(collector) = collector {
        // If it takes longer, closing the database ends it.
        let _ = timeout(PATIENCE, collector).await;
    }
    ending
}

/// A front end that fails has said why, and the bot goes on without it.
#[cfg(any(feature = "web", feature = "discord"))]
async fn ignore_ending(front: impl Future<Output = Ending>) {
    front.await;
}

/// The status page, where one is wanted. Only an address that was asked for by name has to be free.
#[cfg(feature = "web")]
async fn page(
    options: &Options,
    app: &App,
    lasting: bool,
) -> Result<Option<crate::front::web::Web>> {
    use crate::front::web::Web;
    let usual = app.settings.web;
    let web = match options.web {
        Some(address) => Web::bind(address).await?,
        None if !lasting || options.no_web || !usual.enabled => return Ok(None),
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
        // It is set here only.
        let _ = app.page.set(address);
    }
    Ok(Some(web))
}

/// Ctrl-C, what a service manager sends, or the end of the terminal.
#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::hangup()) => {}
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
async fn told_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
