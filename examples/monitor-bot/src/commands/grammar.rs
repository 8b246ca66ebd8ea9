//! What can be typed: the one list that help, completion and parsing share.

use std::str::FromStr;

use super::Command;
use crate::error::{Error, Result};
use crate::metric::checked_part;
use crate::span::Span;

/// A command as it is shown to people.
#[derive(Debug)]
pub struct Entry {
    /// The words it begins with.
    pub words: &'static str,
    /// What follows them.
    pub arguments: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn entry(words: &'static str, arguments: &'static str, about: &'static str) -> Entry {
    Entry {
        words,
        arguments,
        about,
    }
}

/// Every command, in the order of help.
pub const COMMANDS: &[Entry] = &[
    entry(
        "status",
        "[short|full]",
        "how the machine is; full: every core, disk and interface",
    ),
    entry(
        "history",
        "METRIC [SPAN]",
        "a metric over the last 10m, 2h, 7d … (1h), as a plot",
    ),
    entry("watch add", "PROCESS", "watch a process by its name"),
    entry("watch remove", "PROCESS", "watch it no longer"),
    entry("watch list", "", "the watched processes"),
    entry(
        "rule add",
        "RULE",
        "alert when memory > 85 for 30s, say; more with help rule",
    ),
    entry(
        "rule remove",
        "ID|RULE",
        "remove a rule; its open alerts end",
    ),
    entry("rule list", "", "the rules"),
    entry("alerts", "", "the newest alerts, open or over"),
    entry(
        "alert",
        "ID",
        "one of them, and the busiest processes at that time",
    ),
    entry(
        "ack",
        "ID|METRIC",
        "an alert was seen: it is silent until it gets graver",
    ),
    entry(
        "admin add",
        "ID",
        "let someone change things: on Discord a user's number",
    ),
    entry("admin remove", "ID", "let them no longer"),
    entry("admin list", "", "who may change things"),
    entry(
        "db version",
        "",
        "the versions of the schema, the program and SQLite",
    ),
    entry(
        "db check",
        "",
        "look at every page and every reference of the database",
    ),
    entry("db backup", "", "copy the database, into a file of its own"),
    entry("help", "[COMMAND]", "this list, or more on one command"),
    entry("quit", "", "close the database and leave"),
    entry(
        "wait",
        "SPAN",
        "let time pass; with made-up metrics at once",
    ),
    entry(
        "fake",
        "METRIC VALUE|off",
        "hold a made-up metric at a value",
    ),
];

/// The longest line that is looked at.
const LONGEST: usize = 500;

impl FromStr for Command {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words = split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((first, rest)) = words.split_first() else {
            return Ok(Self::Nothing);
        };
        let first = first.to_ascii_lowercase();
        let parsed = match first.as_str() {
            "watch" | "rule" | "admin" | "db" => two_words(&first, rest)?,
            _ => one_word(&first, rest)?,
        };
        parsed.ok_or_else(|| unclear(&first))
    }
}

fn one_word(first: &str, rest: &[&str]) -> Result<Option<Command>> {
    Ok(Some(match (first, rest) {
        ("status", []) => Command::Status { full: false },
        ("status", [detail]) if detail.eq_ignore_ascii_case("short") => {
            Command::Status { full: false }
        }
        ("status", [detail]) if detail.eq_ignore_ascii_case("full") => {
            Command::Status { full: true }
        }
        ("history", [metric]) => Command::History {
            metric: metric.parse()?,
            span: Span::hours(1),
        },
        ("history", [metric @ .., span]) if !metric.is_empty() => Command::History {
            metric: metric.join(" ").parse()?,
            span: span.parse()?,
        },
        ("alerts", []) => Command::Alerts,
        ("alert", [id]) => match id.parse() {
            Ok(id) => Command::Alert { id },
            Err(_) => return Ok(None),
        },
        ("ack", [id]) if id.parse::<i64>().is_ok() => Command::Ack {
            id: id.parse().ok(),
            metric: None,
        },
        ("ack", [_, ..]) => Command::Ack {
            id: None,
            metric: Some(rest.join(" ").parse()?),
        },
        ("help" | "?", []) => Command::Help { topic: None },
        ("help" | "?", _) => Command::Help {
            topic: Some(rest.join(" ").to_ascii_lowercase()),
        },
        ("wait", [span]) => Command::Wait {
            span: span.parse()?,
        },
        ("fake", [metric @ .., value]) if !metric.is_empty() => Command::Fake {
            metric: metric.join(" ").parse()?,
            value: held(value)?,
        },
        ("quit" | "exit", []) => Command::Quit,
        _ => return Ok(None),
    }))
}

fn two_words(first: &str, rest: &[&str]) -> Result<Option<Command>> {
    let Some((second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    // A name with spaces may be typed with quotes or without.
    let name = rest.join(" ");
    Ok(Some(
        match (first, second.to_ascii_lowercase().as_str(), rest) {
            ("watch", "list", []) => Command::WatchList,
            ("watch", "add", [_, ..]) => Command::WatchAdd {
                name: checked_part(&name)?,
            },
            ("watch", "remove", [_, ..]) => Command::WatchRemove {
                name: checked_part(&name)?,
            },
            ("rule", "list", []) => Command::RuleList,
            ("rule", "add", [_, ..]) => Command::RuleAdd {
                rule: name.parse()?,
            },
            ("rule", "remove", [id]) if id.parse::<i64>().is_ok() => Command::RuleRemove {
                id: id.parse().ok(),
                rule: None,
            },
            ("rule", "remove", [_, ..]) => Command::RuleRemove {
                id: None,
                rule: Some(name.parse()?),
            },
            ("admin", "list", []) => Command::AdminList,
            ("admin", "add", [_]) => Command::AdminAdd {
                id: checked_part(&name)?,
            },
            ("admin", "remove", [_]) => Command::AdminRemove {
                id: checked_part(&name)?,
            },
            ("db", "version", []) => Command::DbVersion,
            ("db", "check", []) => Command::DbCheck,
            ("db", "backup", []) => Command::DbBackup,
            _ => return Ok(None),
        },
    ))
}

fn held(value: &str) -> Result<Option<f64>> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    number
        .map(Some)
        .ok_or_else(|| Error::refused(format!("“{value}” is neither a number nor “off”.")))
}

/// The words of a line; quotes keep a word with spaces together.
fn split(line: &str) -> Result<Vec<String>> {
    if line.len() > LONGEST {
        return Err(Error::refused(format!(
            "A line has at most {LONGEST} bytes."
        )));
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Error::refused("A quote is not closed."));
    }
    words.extend(word);
    Ok(words)
}

/// Why a line was not understood: how the command is used, or which one may have been meant.
fn unclear(first: &str) -> Error {
    let uses: Vec<_> = COMMANDS
        .iter()
        .filter(|entry| entry.words.split(' ').next() == Some(first))
        .map(|entry| {
            format!("{} {}", entry.words, entry.arguments)
                .trim_end()
                .to_owned()
        })
        .collect();
    if !uses.is_empty() {
        return Error::refused(format!("Write: {}.", uses.join(", or: ")));
    }
    let shown: String = first.chars().take(30).collect();
    let near = COMMANDS
        .iter()
        .filter_map(|entry| entry.words.split(' ').next())
        .map(|word| (distance(&shown, word), word))
        .filter(|(distance, word)| *distance <= 2 && *distance < word.len())
        .min();
    Error::refused(match near {
        Some((_, word)) => format!("There is no command “{shown}”. Did you mean “{word}”?"),
        None => format!("There is no command “{shown}”. Type help for a list."),
    })
}

/// How many letters must be changed, added or left out to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, wanted) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        line.parse().unwrap()
    }

    fn refusal(line: &str) -> String {
        line.parse::<Command>().unwrap_err().to_string()
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(parse("  "), Command::Nothing);
        assert_eq!(parse("STATUS Full"), Command::Status { full: true });
        assert_eq!(
            parse("history cpu 10m"),
            Command::History {
                metric: "cpu".parse().unwrap(),
                span: "10m".parse().unwrap()
            }
        );
        assert_eq!(
            parse("watch add \"my server\""),
            Command::WatchAdd {
                name: "my server".into()
            }
        );
        assert_eq!(
            parse("watch add my server"),
            Command::WatchAdd {
                name: "my server".into()
            }
        );
        assert_eq!(parse("exit"), Command::Quit);
        let rule = "memory > 85 for 30s".parse().unwrap();
        assert_eq!(
            parse("rule add \"memory > 85 for 30s\""),
            Command::RuleAdd { rule }
        );
        assert_eq!(
            parse("rule remove 3"),
            Command::RuleRemove {
                id: Some(3),
                rule: None
            }
        );
        assert_eq!(
            parse("ack 3"),
            Command::Ack {
                id: Some(3),
                metric: None
            }
        );
        assert_eq!(
            parse("ack disk:/"),
            Command::Ack {
                id: None,
                metric: "disk:/".parse().ok()
            }
        );
        assert_eq!(parse("DB Backup"), Command::DbBackup);
    }

    #[test]
    fn what_is_not_understood_is_answered() {
        assert_eq!(
            refusal("stauts"),
            "There is no command “stauts”. Did you mean “status”?"
        );
        assert_eq!(
            refusal("frobnicate"),
            "There is no command “frobnicate”. Type help for a list."
        );
        assert_eq!(
            refusal("xy"),
            "There is no command “xy”. Type help for a list."
        );
        assert_eq!(refusal("history"), "Write: history METRIC [SPAN].");
        assert!(refusal("watch").starts_with("Write: watch add PROCESS, or: watch remove"));
        assert!(refusal("history cpu soon").contains("not a length of time"));
        assert!(refusal("watch add \"x").contains("quote"));
        assert!(refusal(&"x".repeat(600)).contains("500"));
    }

    #[test]
    fn every_command_of_the_list_is_known_to_the_parser() {
        for entry in COMMANDS {
            let refusal = match entry.words.parse::<Command>() {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            assert!(refusal.starts_with("Write: "), "{}: {refusal}", entry.words);
        }
    }
}
