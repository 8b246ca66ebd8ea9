//! Discord: slash and prefix commands, alerts to a channel, and the worst of them as the bot's presence.

mod alerts;
mod commands;

use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serenity::all::{
    ChannelId, ClientBuilder, Command, Context, CreateAllowedMentions,
    CreateInteractionResponseFollowup, CreateMessage, EventHandler, GatewayError, GatewayIntents,
    Http, HttpBuilder, Interaction, Message, Ready, StatusCode,
};
use serenity::async_trait;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::complain;
use crate::app::App;
use crate::commands::{Caller, is_command, parse, run, split};
use crate::error::Result;
use crate::render::{self, Style};
use crate::settings;
use crate::store::{Event, PATIENCE, Receiver};

/// Where the token is looked for; it is never written anywhere.
pub const TOKEN: &str = "DISCORD_TOKEN";

/// How long to wait before Discord is tried again: at first, and at the most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Discord takes 2000 letters in a message.
const LONGEST: usize = 1_900;

/// A connection to Discord that was not made yet.
pub struct Discord {
    token: String,
    settings: settings::Discord,
}

impl Discord {
    /// None where no token is given.
    pub fn from_env(settings: settings::Discord) -> Option<Self> {
        let token = env::var(TOKEN).ok()?.trim().to_owned();
        (!token.is_empty()).then_some(Self { token, settings })
    }

    /// The channel where alerts are told, if one is named.
    pub fn receiver(&self) -> Option<Receiver> {
        let channel = ChannelId::new(self.settings.channel?);
        let http = Arc::new(self.http());
        let tell = move |event: Event| {
            let http = Arc::clone(&http);
            async move {
                let sent = channel.send_message(&http, alerts::message(&event));
                match timeout(PATIENCE, sent).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(refused!("Discord says: {error}.")),
                    Err(_) => Err(refused!("Discord gave no answer in time.")),
                }
            }
        };
        Some(Receiver::new("discord", tell))
    }

    fn http(&self) -> Http {
        let builder = HttpBuilder::new(&self.token);
        match &self.settings.proxy {
            Some(proxy) => builder.proxy(proxy).ratelimiter_disabled(true).build(),
            None => builder.build(),
        }
    }

    /// Stays connected for as long as it can; serenity itself takes up a connection that was cut off.
    async fn connect(&self, app: &Arc<App>) -> Result<(), serenity::Error> {
        let http = self.http();
        // Asked with the token, Discord says what is wrong. From the gateway serenity would only try to connect for ever.
        http.get_bot_gateway().await?;
        let mut intents = GatewayIntents::GUILDS
            | GatewayIntents::GUILD_MESSAGES
            | GatewayIntents::DIRECT_MESSAGES;
        if !self.settings.prefix.is_empty() {
            intents |= GatewayIntents::MESSAGE_CONTENT;
        }
        let handler = Arc::new(Handler {
            app: Arc::clone(app),
            prefix: self.settings.prefix.clone(),
            presence: Mutex::default(),
        });
        let mut client = ClientBuilder::new_with_http(http, intents)
            .event_handler_arc(Arc::clone(&handler))
            .await?;
        let shards = Arc::clone(&client.shard_manager);
        let ended = tokio::select! {
            ended = client.start() => ended,
            () = app.stopping() => {
                shards.shutdown_all().await;
                Ok(())
            }
        };
        handler.present(JoinSet::new());
        ended
    }

    /// Connects again and again, until the bot stops or Discord does not take it.
    pub async fn run(self, app: Arc<App>) {
        let (first, most) = AGAIN;
        let mut pause = first;
        loop {
            let begun = Instant::now();
            let error = match self.connect(&app).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if let Some(reason) = lasting(&error) {
                return complain(format!(
                    "Discord does not take this bot, and it goes on without. {reason}"
                ));
            }
            if begun.elapsed() > most {
                pause = first;
            }
            tracing::warn!(%error, "Discord cannot be reached, and is tried again in {pause:?}");
            tokio::select! {
                () = app.stopping() => return,
                () = tokio::time::sleep(pause) => pause = most.min(2 * pause),
            }
        }
    }
}

/// What somebody has to do before the next attempt can end otherwise.
fn lasting(error: &serenity::Error) -> Option<&'static str> {
    use GatewayError::{DisallowedGatewayIntents, InvalidAuthentication, InvalidGatewayIntents};
    let token = "DISCORD_TOKEN is not the token of a bot, or no longer: take the one of its page, under Bot.";
    let intents =
        "Switch on its message content intent, or set an empty prefix in the configuration.";
    match error {
        serenity::Error::Http(error) => {
            (error.status_code() == Some(StatusCode::UNAUTHORIZED)).then_some(token)
        }
        serenity::Error::Gateway(InvalidAuthentication) => Some(token),
        serenity::Error::Gateway(DisallowedGatewayIntents | InvalidGatewayIntents) => Some(intents),
        _ => None,
    }
}

/// What is done with what Discord sends.
struct Handler {
    app: Arc<App>,
    prefix: String,
    /// The task that shows the worst alert: it ends with the connection that it shows it through.
    presence: Mutex<JoinSet<()>>,
}

impl Handler {
    /// The last task is aborted.
    fn present(&self, task: JoinSet<()>) {
        *self.presence.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }

    /// Does what was asked and gives the messages to answer with.
    async fn answer(&self, user: u64, words: Result<Vec<String>>) -> Vec<String> {
        let caller = Caller {
            id: user.to_string(),
            trusted: false,
        };
        let reply = async { run(&self.app, &caller, parse(&words?)?).await };
        match reply.await {
            Ok(reply) => pages(&render::text(&reply, Style::PLAIN)),
            Err(error) => {
                let error = render::harmless(&error.to_string());
                vec![error.chars().take(LONGEST).collect()]
            }
        }
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, context: Context, _: Ready) {
        let offered = commands::offered();
        if let Err(error) = Command::set_global_commands(&context, offered).await {
            tracing::warn!(%error, "Discord keeps the slash commands it knew before");
        }
        let mut task = JoinSet::new();
        task.spawn(alerts::present(context, Arc::clone(&self.app)));
        self.present(task);
    }

    async fn message(&self, context: Context, message: Message) {
        let Some(line) = message.content.strip_prefix(&self.prefix) else {
            return;
        };
        // Other bots may use the same prefix.
        if self.prefix.is_empty() || message.author.bot || !is_command(line) {
            return;
        }
        let words = split(line).map(|words| words.iter().map(|word| unmentioned(word)).collect());
        for text in self.answer(message.author.id.get(), words).await {
            let answer = CreateMessage::new()
                .content(text)
                .allowed_mentions(CreateAllowedMentions::new());
            log(message.channel_id.send_message(&context, answer).await);
        }
    }

    async fn interaction_create(&self, context: Context, interaction: Interaction) {
        let Interaction::Command(asked) = interaction else {
            return;
        };
        // An answer may take longer than Discord waits for one.
        log(asked.defer(&context).await);
        let words = commands::words(&asked.data);
        for text in self.answer(asked.user.id.get(), Ok(words)).await {
            let answer = CreateInteractionResponseFollowup::new()
                .content(text)
                .allowed_mentions(CreateAllowedMentions::new());
            log(asked.create_followup(&context, answer).await);
        }
    }
}

/// The number of a user who is mentioned.
fn unmentioned(word: &str) -> String {
    let inner = word
        .strip_prefix("<@")
        .and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(word).to_owned()
}

fn log<T>(sent: Result<T, serenity::Error>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "an answer could not be given on Discord");
    }
}

/// Blocks of fixed width, as many messages as it takes; a name must not end the block it stands in.
fn pages(text: &str) -> Vec<String> {
    let mut pages = Vec::new();
    let mut page = String::new();
    for line in text.replace("```", "'''").lines() {
        let line: String = line.chars().take(LONGEST).collect();
        if page.chars().count() + line.chars().count() + 1 > LONGEST {
            pages.push(std::mem::take(&mut page));
        }
        page.push_str(&line);
        page.push('\n');
    }
    pages.push(page);
    pages.retain(|page| !page.trim().is_empty());
    pages.iter().map(|page| format!("```\n{page}```")).collect()
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
