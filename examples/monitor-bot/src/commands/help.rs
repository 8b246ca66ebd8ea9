//! `help`

use super::grammar::{COMMANDS, usage};
use crate::error::Result;
use crate::metric::Kind;
use crate::reply::Column::Left;
use crate::reply::{Cell, Reply, Table, Tone};
use crate::rules::GRAMMAR;

const RULES: [&str; 4] = [
    "for: the value must stay there so long. clear: where the alert ends.",
    "again: repeat the alert when it is so much worse.",
    "90/95/99: each level is worth an alert of its own.",
    "memory > 85 for 30s · disk:/ > 90/95/99 · rx > 20M · process:nginx stopped",
];

pub(super) fn help(topic: Option<&str>) -> Result<Reply> {
    let topic = topic.unwrap_or_default().to_ascii_lowercase();
    let mut table = Table::new([Left(""), Left("")]);
    let mut data = Vec::new();
    for command in COMMANDS.iter() {
        if command.get_name().starts_with(&topic) {
            let about = command.get_about().map(ToString::to_string);
            let (usage, about) = (usage(command), about.unwrap_or_default());
            data.push(serde_json::json!({ "usage": usage, "about": about }));
            table.row([Cell::toned(usage, Tone::Strong), about.into()]);
        }
    }
    if data.is_empty() {
        refuse!("There is no command “{topic}”. Type help for a list.");
    }
    let reply = Reply::with_data(data).table(table);
    if topic.starts_with("rule") {
        return Ok(reply.text(GRAMMAR).toned(RULES.join("\n"), Tone::Dim));
    }
    if !topic.is_empty() {
        return Ok(reply);
    }
    let names: Vec<_> = Kind::names().collect();
    Ok(reply
        .toned(format!("Metrics: {}", names.join(" ")), Tone::Dim)
        .toned(
            "One of several: cpu:0 disk:/home rx:eth0 process:nginx",
            Tone::Dim,
        ))
}
