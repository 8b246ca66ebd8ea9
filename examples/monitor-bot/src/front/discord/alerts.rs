//! Alerts as messages to a channel, and the worst of them as the bot's presence.

use std::sync::Arc;

use dbm_core::prelude::*;
use serenity::all::{
    ActivityData, Context, CreateAllowedMentions, CreateMessage, Nonce, OnlineStatus,
};

use crate::app::App;
use crate::commands::{event_line, headline};
use crate::render;
use crate::store::{Alert, Event, EventKind};

pub(super) fn message(event: &Event) -> CreateMessage {
    let mark = match event.what {
        EventKind::Raised | EventKind::Worse => "🔴",
        EventKind::Acknowledged => "🟡",
        EventKind::Cleared => "🟢",
    };
    let line = render::harmless(&event_line(event)).replace('`', "'");
    CreateMessage::new()
        .content(format!("{mark} `{line}` · alert {}", event.alert_id))
        .allowed_mentions(CreateAllowedMentions::new())
        // Discord drops a second message with the same mark: a crash between sending and remembering repeats nothing.
        .nonce(Nonce::String(format!("event-{}", event.id)))
        .enforce_nonce(true)
}

/// Shows the worst alert nobody has seen yet, until the bot stops. It is left as it is while it is not known.
pub(super) async fn present(context: Context, app: Arc<App>) {
    let worst = |alerts: Vec<Alert>| {
        let rank = |alert: &Alert| (alert.acknowledged_at.is_none(), alert.level, alert.id);
        alerts.into_iter().max_by_key(rank).as_ref().map(headline)
    };
    let mut shown = app
        .store
        .live(move |store| async move {
            let (alerts, problem) = store.open_alerts().await;
            problem.map_or_else(|| Ok(worst(alerts)), Err)
        })
        .distinct();
    while let Some(known) = shown.next().await {
        let (text, status) = match known {
            Ok(Some(worst)) => (worst, OnlineStatus::DoNotDisturb),
            Ok(None) => ("all is well".to_owned(), OnlineStatus::Online),
            Err(_) => continue,
        };
        context.set_presence(Some(ActivityData::custom(text)), status);
    }
}
