//! Alerts as messages to a channel, each told once, also across restarts.

use std::sync::Arc;

use poise::serenity_prelude as serenity;
use serenity::{ActivityData, ChannelId, CreateMessage, OnlineStatus};

use crate::app::App;
use crate::commands::{event_line, headline};
use crate::render;
use crate::span::Span;
use crate::store::{Event, EventKind};

const NAME: &str = "discord";
/// What happened longer ago is no news.
const NEWS: Span = Span::days(1);

/// Tells what is new with every reading, until the bot stops.
pub(super) async fn tell(context: serenity::Context, app: Arc<App>, channel: Option<ChannelId>) {
    let mut readings = app.readings();
    let mut shown = None;
    loop {
        if let Some(channel) = channel {
            announce(&context, &app, channel).await;
        }
        present(&context, &app, &mut shown).await;
        tokio::select! {
            changed = readings.changed() => if changed.is_err() { return },
            () = app.stopping() => return,
        }
    }
}

/// What was sent is remembered after each message; what could not be sent is tried again with the next reading.
async fn announce(context: &serenity::Context, app: &App, channel: ChannelId) {
    let since = app.clock.now() - NEWS.as_secs();
    let events = match app.store.pending(NAME, since).await {
        Ok(events) => events,
        Err(error) => return tracing::error!(%error, "alerts cannot be told on Discord"),
    };
    for event in events {
        if let Err(error) = channel.send_message(context, message(&event)).await {
            return tracing::warn!(%error, "an alert could not be told on Discord");
        }
        if let Err(error) = app.store.delivered(NAME, event.id).await {
            return tracing::error!(%error, "an alert was told on Discord, and may be told again");
        }
    }
}

fn message(event: &Event) -> CreateMessage {
    let mark = match event.what {
        EventKind::Raised | EventKind::Worse => "🔴",
        EventKind::Acknowledged => "🟡",
        EventKind::Cleared => "🟢",
    };
    let line = render::harmless(&event_line(event)).replace('`', "'");
    CreateMessage::new()
        .content(format!("{mark} `{line}` · alert {}", event.alert_id))
        .allowed_mentions(serenity::CreateAllowedMentions::new())
        // Discord drops a second message with the same mark: a crash between sending and remembering repeats nothing.
        .nonce(serenity::Nonce::String(format!("event-{}", event.id)))
        .enforce_nonce(true)
}

/// The worst alert nobody has seen yet; told only when it changed, and left as it is while it is not known.
async fn present(context: &serenity::Context, app: &App, shown: &mut Option<String>) {
    let (alerts, None) = app.store.open_alerts().await else {
        return;
    };
    let worst = alerts
        .iter()
        .max_by_key(|alert| (alert.acknowledged_at.is_none(), alert.level, alert.id));
    let text = worst.map_or_else(|| "all is well".to_owned(), headline);
    if shown.as_ref() != Some(&text) {
        let status = if worst.is_some() {
            OnlineStatus::DoNotDisturb
        } else {
            OnlineStatus::Online
        };
        context.set_presence(Some(ActivityData::custom(&text)), status);
        *shown = Some(text);
    }
}
