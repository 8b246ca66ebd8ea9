//! Alerts as messages to a channel, and the worst of them as the bot's presence.

use std::sync::Arc;

use dbm_core::prelude::*;
use serenity::all::{
    ActivityData, Context, CreateAllowedMentions, CreateMessage, Nonce, OnlineStatus,
};

use crate::app::App;
use crate::render;
use crate::store::{Alert, Event, EventKind};

pub(super) fn message(event: &Event) -> CreateMessage {
    let mark = match event.what {
        EventKind::Raised | EventKind::Worse => "🔴",
        EventKind::Acknowledged => "🟡",
        EventKind::Cleared => "🟢",
    };
    let line = render::harmless(&event.to_string()).replace('`', "'");
    let message = CreateMessage::new()
        .content(format!("{mark} `{line}` · alert {}", event.alert.id))
        .allowed_mentions(CreateAllowedMentions::new());
    // Discord drops a second message with the same mark: a crash between sending and remembering repeats nothing.
    match event.id {
        Some(id) => message
            .nonce(Nonce::String(format!("event-{id}")))
            .enforce_nonce(true),
        None => message,
    }
}

/// Shows the worst alert nobody has seen yet, until the bot stops. It is left as it is while it is not known.
pub(super) async fn present(context: Context, app: Arc<App>) {
    let worst = |alerts: Vec<Alert>| {
        let rank = |alert: &Alert| (alert.acknowledged_at.is_none(), alert.level, alert.id);
        let worst = alerts.into_iter().max_by_key(rank);
        worst.as_ref().map(Alert::headline)
    };
    let reader = Arc::clone(&app);
    let mut stored = app.store.live(move |_| {
        let app = Arc::clone(&reader);
        async move { app.open_alerts().await }
    });
    let mut outages = app.outages();
    let mut shown = None;
    loop {
        let known = tokio::select! {
            stored = stored.next() => stored,
            Ok(()) = outages.changed() => Some(app.open_alerts().await),
        };
        let alerts = match known {
            Some((alerts, None)) => worst(alerts),
            Some((_, Some(_))) => continue,
            None => return,
        };
        if shown.as_ref() == Some(&alerts) {
            continue;
        }
        shown = Some(alerts.clone());
        let (text, status) = match alerts {
            Some(worst) => (worst, OnlineStatus::DoNotDisturb),
            None => ("all is well".to_owned(), OnlineStatus::Online),
        };
        context.set_presence(Some(ActivityData::custom(text)), status);
    }
}
