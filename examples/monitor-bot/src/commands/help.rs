//! `help`

use super::COMMANDS;
use crate::error::{Error, Result};
use crate::metric::Kind;
use crate::reply::{Cell, Reply, Side, Table, Tone};
use crate::rules::GRAMMAR;

pub(super) fn help(topic: Option<&str>) -> Result<Reply> {
    let mut table = Table::new([("", Side::Left), ("", Side::Left)]);
    for entry in COMMANDS
        .iter()
        .filter(|entry| topic.is_none_or(|topic| entry.words.starts_with(topic)))
    {
        let usage = format!("{} {}", entry.words, entry.arguments);
        table.row([
            Cell::toned(usage.trim_end(), Tone::Strong),
            entry.about.into(),
        ]);
    }
    if table.rows.is_empty() {
        return Err(Error::refused(format!(
            "There is no command “{}”. Type help for a list.",
            topic.unwrap_or_default()
        )));
    }
    let names: Vec<_> = Kind::names().collect();
    let data: Vec<_> = table
        .rows
        .iter()
        .map(|row| serde_json::json!({"usage": row[0].text, "about": row[1].text}))
        .collect();
    let reply = Reply::with_data(data).table(table);
    Ok(match topic {
        Some(topic) if topic.starts_with("rule") => reply
            .text(GRAMMAR)
            .toned(
                "for: the value must stay there so long. clear: where the alert ends.",
                Tone::Dim,
            )
            .toned(
                "again: repeat the alert when it is so much worse.",
                Tone::Dim,
            )
            .toned(
                "90/95/99: each level is worth an alert of its own.",
                Tone::Dim,
            )
            .toned(
                "memory > 85 for 30s · disk:/ > 90/95/99 · rx > 20M · process:nginx stopped",
                Tone::Dim,
            ),
        Some(_) => reply,
        None => reply
            .toned(format!("Metrics: {}", names.join(" ")), Tone::Dim)
            .toned(
                "One of several: cpu:0 disk:/home rx:eth0 process:nginx",
                Tone::Dim,
            ),
    })
}
