//! Discord: slash and prefix commands, alerts to a channel, and the worst of them as the bot's presence.

mod alerts;
mod commands;

use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poise::serenity_prelude as serenity;
use poise::{CreateReply, FrameworkError};
use serenity::GatewayIntents;
use tokio::task::AbortHandle;

use super::{Ending, FrontEnd};
use crate::app::App;
use crate::error::{Error, Result};
use crate::render::{self, Style};
use crate::reply::Reply;
use crate::settings;
use crate::store::{Event, Receiver};

type Context<'a> = poise::Context<'a, Arc<App>, Error>;

/// Where the token is looked for; it is never written anywhere.
pub const TOKEN: &str = "DISCORD_TOKEN";

/// How long to wait before Discord is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// A connection to Discord that was not made yet.
pub struct Discord {
    token: String,
    settings: settings::Discord,
}

impl Discord {
    /// None where no token is given.
    pub fn from_env(settings: settings::Discord) -> Option<Self> {
        let token = env::var(TOKEN)
            .ok()
            .filter(|token| !token.trim().is_empty())?;
        Some(Self { token, settings })
    }

    /// The channel where alerts are told, if one is named.
    pub fn receiver(&self) -> Option<Receiver> {
        let channel = serenity::ChannelId::new(self.settings.channel?);
        let http = Arc::new(self.http());
        let tell = move |event: Event| {
            let http = Arc::clone(&http);
            async move {
                let sent = channel.send_message(&http, alerts::message(&event)).await;
                sent.map(drop).map_err(|error| failed(&error))
            }
        };
        let tell = Box::new(move |event| Box::pin(tell(event)) as _);
        Some(Receiver::new("discord", tell))
    }

    fn http(&self) -> serenity::Http {
        let builder = serenity::HttpBuilder::new(self.token.trim());
        match &self.settings.proxy {
            Some(proxy) => builder.proxy(proxy).ratelimiter_disabled(true).build(),
            None => builder.build(),
        }
    }

    fn framework(&self, app: Arc<App>, telling: Telling) -> poise::Framework<Arc<App>, Error> {
        let prefix = self.settings.prefix.clone();
        let prefixed = !prefix.is_empty();
        let options = poise::FrameworkOptions {
            commands: commands::all(),
            on_error: |error| Box::pin(explain(error)),
            prefix_options: poise::PrefixFrameworkOptions {
                prefix: Some(prefix.into()).filter(|_| prefixed),
                ..Default::default()
            },
            allowed_mentions: Some(serenity::CreateAllowedMentions::new()),
            initialize_owners: false,
            ..Default::default()
        };
        poise::Framework::builder()
            .options(options)
            .initialize_owners(false)
            .setup(move |context, _ready, framework| {
                let context = context.clone();
                Box::pin(async move {
                    let commands = &framework.options().commands;
                    if let Err(error) = poise::builtins::register_globally(&context, commands).await
                    {
                        tracing::warn!(%error, "Discord keeps the slash commands it knew before");
                    }
                    telling.spawn(alerts::present(context, Arc::clone(&app)));
                    Ok(app)
                })
            })
            .build()
    }

    /// Stays connected for as long as it can; serenity itself takes up a connection that was cut off.
    async fn connect(&self, app: &Arc<App>) -> Result<(), serenity::Error> {
        let mut intents = GatewayIntents::GUILDS
            | GatewayIntents::GUILD_MESSAGES
            | GatewayIntents::DIRECT_MESSAGES;
        if !self.settings.prefix.is_empty() {
            intents |= GatewayIntents::MESSAGE_CONTENT;
        }
        let telling = Telling::default();
        let framework = self.framework(Arc::clone(app), telling.clone());
        let mut client = serenity::ClientBuilder::new_with_http(self.http(), intents)
            .framework(framework)
            .await?;
        let shards = Arc::clone(&client.shard_manager);
        let ended = tokio::select! {
            ended = client.start() => ended,
            () = app.stopping() => {
                shards.shutdown_all().await;
                Ok(())
            }
        };
        telling.end();
        ended
    }
}

impl FrontEnd for Discord {
    async fn run(self, app: Arc<App>) -> Ending {
        loop {
            match self.connect(&app).await {
                Ok(()) => return Ending::Done,
                Err(error) if is_final(&error) => {
                    tracing::error!(%error, "Discord does not want this bot; it goes on without");
                    return Ending::Failed;
                }
                Err(error) => {
                    tracing::warn!(%error, "Discord cannot be reached, and is tried again");
                }
            }
            tokio::select! {
                () = app.stopping() => return Ending::Done,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Whether the next attempt would end alike.
fn is_final(error: &serenity::Error) -> bool {
    use serenity::GatewayError::{
        DisallowedGatewayIntents, InvalidAuthentication, InvalidGatewayIntents,
    };
    matches!(
        error,
        serenity::Error::Gateway(
            InvalidAuthentication | DisallowedGatewayIntents | InvalidGatewayIntents
        )
    )
}

/// The task that tells alerts: it ends with the connection that it tells them through.
#[derive(Clone, Default)]
struct Telling(Arc<Mutex<Option<AbortHandle>>>);

impl Telling {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    fn end(&self) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            handle.abort();
        }
    }
}

fn failed(error: &serenity::Error) -> Error {
    Error::refused(format!("Discord did not answer: {error}."))
}

/// Answers in blocks of fixed width, as many messages as it takes.
async fn send(context: Context<'_>, reply: &Reply) -> Result<()> {
    for page in pages(&render::text(reply, Style::PLAIN)) {
        context
            .send(CreateReply::default().content(page))
            .await
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Discord takes 2000 letters in a message; a name must not end the block it stands in.
fn pages(text: &str) -> Vec<String> {
    const MOST: usize = 1_900;
    let mut pages = Vec::new();
    let mut page = String::new();
    for line in text.replace("```", "'''").lines() {
        let line: String = line.chars().take(MOST).collect();
        if page.chars().count() + line.chars().count() + 1 > MOST {
            pages.push(std::mem::take(&mut page));
        }
        page.push_str(&line);
        page.push('\n');
    }
    pages.push(page);
    pages.retain(|page| !page.trim().is_empty());
    pages.iter().map(|page| format!("```\n{page}```")).collect()
}

/// What was asked and failed is answered; the rest is logged.
async fn explain(error: FrameworkError<'_, Arc<App>, Error>) {
    let answered = match error {
        FrameworkError::Command { error, ctx, .. } => {
            let reply = CreateReply::default()
                .content(render::harmless(&error.to_string()))
                .ephemeral(true);
            ctx.send(reply).await.map(drop)
        }
        // Other bots may use the same prefix.
        FrameworkError::UnknownCommand { .. } => Ok(()),
        other => poise::builtins::on_error(other).await,
    };
    if let Err(error) = answered {
        tracing::warn!(%error, "an answer could not be given on Discord");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_become_several_messages() {
        let pages = pages(&"a line of some length\n".repeat(200));
        assert_eq!(pages.len(), 3);
        assert!(pages.iter().all(|page| page.chars().count() <= 2_000));
    }

    #[test]
    fn a_name_cannot_end_the_block() {
        assert_eq!(pages("x ``` @everyone\n"), ["```\nx ''' @everyone\n```"]);
        assert!(pages("\n").is_empty());
    }
}
