//! Which front ends run, and until when.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use tokio::task::JoinSet;

use crate::app::App;
use crate::error::Result;
use crate::front::script::Script;
use crate::front::{Ending, Screen, complain, console, headless, lines, webhook};
use crate::options::Options;

/// How long calls that run when the bot is told to stop may go on.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs one front end, with sampling and others beside it, until whoever is served or the operating system has
/// had enough.
pub async fn serve(
    options: &Options,
    app: &Arc<App>,
    beside: &mut JoinSet<()>,
    script: Option<Script>,
    screen: Screen,
) -> Result<Ending> {
    let (prompt, lasting) = (options.has_prompt(), options.is_lasting());
    #[cfg(feature = "web")]
    if let Some(web) = page(options, app, lasting).await? {
        beside.spawn(web.run(Arc::clone(app)));
    }
    #[cfg(feature = "discord")]
    if lasting
        && let Some(discord) =
            crate::front::discord::Discord::from_env(app.settings.discord.clone())
    {
        beside.spawn(discord.run(Arc::clone(app)));
    }
    #[cfg(not(feature = "discord"))]
    if lasting && std::env::var_os("DISCORD_TOKEN").is_some_and(|token| !token.is_empty()) {
        complain("DISCORD_TOKEN is set, but this program was built without `--features discord`.");
    }
    if lasting && let Some(url) = &app.settings.heartbeat.url {
        let wrong = |error| refused!("heartbeat in the configuration: {error}");
        let address = url.address().map_err(wrong)?;
        beside.spawn(webhook::heartbeat(Arc::clone(app), address));
    }
    // The time of a script with made-up metrics passes only where it says so.
    if !app.clock.is_virtual() || lasting {
        beside.spawn(Arc::clone(app).collect());
    }
    let served = async {
        match script {
            Some(script) => script.run(app).await,
            None if options.headless => Ok(headless::run(screen, app).await),
            None if prompt => {
                let history = app.data_dir.as_ref().map(|data| data.join("typed.txt"));
                console::run(screen, history, app).await
            }
            None => lines::run(screen, app).await,
        }
    };
    tokio::select! {
        ending = served => ending,
        closed = app.store.close_on_signal(PATIENCE) => {
            if prompt {
                // What comes now does not belong behind what was being typed.
                let _ = screen.write("\n");
            }
            Ok(closed.map(|()| Ending::Done)?)
        }
    }
}

/// The status page, where one is wanted. Only an address that was asked for by name has to be free.
#[cfg(feature = "web")]
async fn page(
    options: &Options,
    app: &App,
    lasting: bool,
) -> Result<Option<crate::front::web::Web>> {
    use crate::front::web::Web;
    let usual = &app.settings.web;
    let web = match options.web {
        Some(address) => Web::bind(address).await?,
        None if !lasting || options.no_web || !usual.enabled => return Ok(None),
        None => match Web::bind(usual.address).await {
            Ok(web) => web,
            Err(error) => {
                complain(format!(
                    "{error} Choose another one with --web, or none with --no-web."
                ));
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
