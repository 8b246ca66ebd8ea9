//! Answers as text: for a terminal, a log, a chat or a pipe.

mod plot;
mod table;

use serde_json::{Value, json};

use crate::error::Error;
use crate::reply::{Block, Reply, Tone};

/// How text is to look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether colours are wanted.
    pub colour: bool,
    /// The columns and lines of the window, if it is one.
    pub room: Option<(u16, u16)>,
}

impl Style {
    /// For files, pipes and chats.
    pub const PLAIN: Self = Self {
        colour: false,
        room: None,
    };

    /// The text in the colour of its meaning.
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
        };
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The whole answer, each line ended.
pub fn text(reply: &Reply, style: Style) -> String {
    let mut out = String::new();
    for (index, block) in reply.blocks.iter().enumerate() {
        match block {
            Block::Text(text, tone) => {
                for line in text.lines() {
                    out.push_str(&style.paint(&harmless(line), *tone));
                    out.push('\n');
                }
            }
            Block::Table(table) => out.push_str(&table::render(table, style)),
            Block::Plot(plot) => out.push_str(&plot::render(plot, style)),
        }
        let next = reply.blocks.get(index + 1);
        if !matches!(
            (block, next),
            (_, None) | (Block::Text(..), Some(Block::Text(..)))
        ) {
            out.push('\n');
        }
    }
    out
}

/// The answer for programs: one JSON object on one line.
pub fn json(command: &str, reply: &Reply) -> Value {
    json!({ "ok": true, "command": command, "data": reply.data })
}

/// Why a command failed, for programs.
pub fn json_error(command: &str, error: &Error) -> Value {
    let kind = match error {
        Error::Refused(_) => "refused",
        Error::Database(_) => "database",
        Error::Unwritable(_) => "output",
    };
    json!({ "ok": false, "command": command, "error": { "kind": kind, "message": error.to_string() } })
}

/// Names come from outside: what could steer a terminal is shown as a mark.
pub fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
