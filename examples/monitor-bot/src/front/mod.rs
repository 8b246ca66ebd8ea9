//! Front ends: who types commands, and where the answers go.

pub mod console;
#[cfg(feature = "discord")]
pub mod discord;
pub mod headless;
pub mod lines;
pub mod script;
#[cfg(feature = "web")]
pub mod web;
pub mod webhook;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde_json::json;
use terminal_size::{Height, Width, terminal_size_of};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::commands::{self, Caller, places};
use crate::error::{Error, Result};
use crate::render::{self, Style};
use crate::reply::{Reply, Tone};
use crate::settings::Settings;
use crate::store::{Event, EventKind, Receiver};

/// Everybody who is told what happens without sitting at the machine.
pub fn receivers(settings: &Settings) -> Result<Vec<Receiver>, Error> {
    let webhooks = settings.webhook.iter();
    let webhooks = webhooks.map(|(name, webhook)| webhook.receiver(name));
    #[cfg(feature = "discord")]
    let webhooks = webhooks.chain(
        discord::Discord::from_env(settings.discord.clone())
            .and_then(|discord| discord.receiver())
            .map(Ok),
    );
    webhooks.collect()
}

/// How a front end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was asked was done.
    Done,
    /// Something that was asked failed, and said so.
    Failed,
}

/// Standard output, in text or in JSON.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    style: Style,
    json: bool,
}

impl Screen {
    /// Colours only for a terminal, and not where NO_COLOR asks for none.
    pub fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = wanted && !json && io::stdout().is_terminal();
        Self {
            style: Style { colour, room: None },
            json,
        }
    }

    /// Whether answers are in JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Does what a line says and shows the answer; where that cannot be shown, everything ends.
    pub async fn answer(self, app: &App, caller: &Caller, line: &str) -> Result<Result<Reply>> {
        let answer = commands::answer(app, caller, line).await;
        match &answer {
            Ok(reply) => self.show(line, reply)?,
            Err(error) => self.fail(line, error)?,
        }
        Ok(answer)
    }

    /// Shows an answer.
    pub fn show(self, command: &str, reply: &Reply) -> Result<()> {
        match self.json {
            true if reply.data.is_null() => Ok(()),
            true => self.line(render::json(command, reply)),
            false => {
                // A window may have another size each time.
                let room = terminal_size_of(io::stdout());
                let room = room.map(|(Width(columns), Height(lines))| (columns, lines));
                self.write(&render::text(reply, Style { room, ..self.style }))
            }
        }
    }

    fn fail(self, command: &str, error: &Error) -> Result<()> {
        if self.json {
            return self.line(render::json_error(command, error));
        }
        let line = render::harmless(&error.to_string());
        self.line(self.style.paint(&line, Tone::Bad))
    }

    /// That the bot watches, and where to find things.
    pub fn started(self, app: &App) -> String {
        if self.json {
            return json!({ "data": app.data_dir, "page": app.page.get() }).to_string();
        }
        format!("monitor-bot: watching. {}", places(app))
    }

    /// Shows what happens without being asked, a line each, for as long as anything can happen.
    pub async fn tell_all(
        self,
        app: &App,
        mut events: broadcast::Receiver<Event>,
        mut show: impl FnMut(String),
    ) {
        loop {
            match events.recv().await {
                Ok(event) => show(self.told(app, &event)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn told(self, app: &App, event: &Event) -> String {
        if self.json {
            return json!({ "event": event }).to_string();
        }
        let tone = match event.what {
            EventKind::Raised | EventKind::Worse => Tone::Bad,
            EventKind::Acknowledged => Tone::Warn,
            EventKind::Cleared => Tone::Good,
        };
        let (time, text) = (app.clock.show(event.at, "%H:%M:%S"), event.to_string());
        let line = format!("{time} {}", render::harmless(&text));
        self.style.paint(&line, tone)
    }

    /// Writes a line.
    pub fn line(self, text: impl Display) -> Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// Writes as it is. `print!` would panic when the other end of a pipe is gone.
    pub fn write(self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// Says on standard error what goes wrong. `eprintln!` would panic when that is gone.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "monitor-bot: {text}");
}
