//! How a line becomes a [`Command`].

use std::error::Error as _;
use std::str::FromStr;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser};
use strsim::osa_distance;

use super::Command;
use crate::error::{Error, Result};
use crate::metric::Kind;

/// The longest line that is looked at.
const LONGEST: usize = 500;

#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Every command, in the order of help.
pub static COMMANDS: LazyLock<Vec<clap::Command>> =
    LazyLock::new(|| Line::command().get_subcommands().cloned().collect());

/// How a command is written.
pub(super) fn usage(command: &clap::Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").trim().to_owned()
}

/// The command that these words ask for, the first of which are its name.
pub fn parse(words: &[String]) -> Result<Command> {
    let found = COMMANDS.iter().find_map(|command| {
        let count = command.get_name().split(' ').count();
        let typed = words.get(..count)?.join(" ").to_ascii_lowercase();
        let mut names = command.get_all_aliases().chain([command.get_name()]);
        names.any(|name| name == typed).then_some((command, count))
    });
    let (command, count) = found.ok_or_else(|| unclear(&words[0]))?;
    let mut given = words[count..].to_vec();
    // A name with spaces may be typed with quotes or without: the first argument takes what is too much.
    let wanted = command.get_positionals().count();
    if wanted > 0 && given.len() > wanted {
        let first = given.drain(..=given.len() - wanted).collect::<Vec<_>>();
        given.insert(0, first.join(" "));
    }
    // Nothing here is an option, whatever it begins with.
    let line = [command.get_name().to_owned(), "--".to_owned()];
    let read = Line::try_parse_from(line.into_iter().chain(given));
    read.map(|line| line.command).map_err(|error| {
        // What reads a value says in a sentence what is wrong with it.
        let reason = error.source().and_then(|reason| reason.downcast_ref());
        reason
            .cloned()
            .unwrap_or_else(|| refused!("Write: {}.", usage(command)))
    })
}

/// The words of a line; quotes keep a word with spaces together.
pub fn split(line: &str) -> Result<Vec<String>> {
    if line.len() > LONGEST {
        refuse!("A line has at most {LONGEST} bytes.");
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
        refuse!("A quote is not closed.");
    }
    words.extend(word);
    Ok(words)
}

/// What is typed first: commands that are alike have it in common.
pub fn first_word(command: &clap::Command) -> &str {
    let name = command.get_name();
    name.split_once(' ').map_or(name, |(first, _)| first)
}

/// Whether a line begins as a command does.
#[cfg(feature = "discord")]
pub fn is_command(line: &str) -> bool {
    let first = line.split_whitespace().next().map(str::to_lowercase);
    COMMANDS
        .iter()
        .any(|command| first.as_deref() == Some(first_word(command)))
}

/// Why there is no such command: how those are used that begin alike, or which one may have been meant.
fn unclear(first: &str) -> Error {
    let first: String = first.to_lowercase().chars().take(30).collect();
    let alike = COMMANDS
        .iter()
        .filter(|command| first_word(command) == first);
    let uses: Vec<_> = alike.map(usage).collect();
    if !uses.is_empty() {
        return refused!("Write: {}.", uses.join(", or: "));
    }
    let near = COMMANDS
        .iter()
        .map(first_word)
        .map(|word| (osa_distance(&first, word), word))
        .filter(|(distance, word)| *distance <= 2 && *distance < word.len())
        .min();
    match near {
        Some((_, word)) => refused!("There is no command “{first}”. Did you mean “{word}”?"),
        None => refused!("There is no command “{first}”. Type help for a list."),
    }
}

/// What may follow the words `before` and begins with `typed`.
pub fn completions(before: &str, typed: &str) -> Vec<String> {
    let before: Vec<_> = before.split_whitespace().collect();
    let mut found = Vec::new();
    for command in COMMANDS.iter() {
        let names: Vec<_> = command.get_name().split(' ').collect();
        if let Some(next) = names.get(before.len()) {
            if names.starts_with(&before) {
                found.push((*next).to_owned());
            }
        } else if before.starts_with(&names)
            && let Some(argument) = command.get_positionals().nth(before.len() - names.len())
        {
            let values = argument.get_possible_values();
            found.extend(values.iter().map(|value| value.get_name().to_owned()));
            if matches!(argument.get_id().as_str(), "metric" | "rule" | "alert") {
                found.extend(Kind::names().map(str::to_owned));
            }
        }
    }
    found.retain(|word| word.starts_with(typed));
    found.dedup();
    found
}

/// A number of something, or how else it is named.
pub(super) type IdOr<T> = (Option<i64>, Option<T>);

pub(super) fn id_or<T: FromStr<Err = Error>>(text: &str) -> Result<IdOr<T>> {
    match text.parse() {
        Ok(id) => Ok((Some(id), None)),
        Err(_) => Ok((None, Some(text.parse()?))),
    }
}

/// The value that a made-up metric is held at, if any.
pub(super) type Held = Option<f64>;

pub(super) fn held(text: &str) -> Result<Held> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) => Ok(Some(number)),
        _ if text.eq_ignore_ascii_case("off") => Ok(None),
        _ => Err(refused!("“{text}” is neither a number nor “off”.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command> {
        parse(&split(line)?)
    }

    fn refusal(line: &str) -> String {
        read(line).unwrap_err().to_string()
    }

    #[test]
    fn commands_are_understood() {
        for (line, command) in [
            ("STATUS Full", "Status { detail: Full }"),
            ("status", "Status { detail: Short }"),
            (
                "history load",
                "History { metric: Metric { kind: Load, part: None }, span: Span(3600) }",
            ),
            (
                "watch add 'my server'",
                r#"WatchAdd { process: "my server" }"#,
            ),
            (
                "watch add my server",
                r#"WatchAdd { process: "my server" }"#,
            ),
            ("watch add -x", r#"WatchAdd { process: "-x" }"#),
            ("exit", "Quit"),
            ("?", "Help { command: None }"),
            ("rule remove 3", "RuleRemove { rule: (Some(3), None) }"),
            ("ack 3", "Ack { alert: (Some(3), None) }"),
            (
                "ack disk:/",
                r#"Ack { alert: (None, Some(Metric { kind: Disk, part: Some("/") })) }"#,
            ),
            (
                "fake disk:/my disk off",
                r#"Fake { metric: Metric { kind: Disk, part: Some("/my disk") }, value: None }"#,
            ),
            ("DB Backup", "DbBackup"),
        ] {
            assert_eq!(format!("{:?}", read(line).unwrap()), command, "{line}");
        }
        let rule = "load > 4 for 30s".parse().unwrap();
        assert_eq!(
            read("rule add load > 4 for 30s").unwrap(),
            Command::RuleAdd { rule }
        );
        Line::command().debug_assert();
    }

    #[test]
    fn what_is_not_understood_is_answered() {
        for (line, refused) in [
            (
                "stauts",
                "There is no command “stauts”. Did you mean “status”?",
            ),
            (
                "frobnicate",
                "There is no command “frobnicate”. Type help for a list.",
            ),
            ("xy", "There is no command “xy”. Type help for a list."),
            ("history", "Write: history <METRIC> [SPAN]."),
            ("status fully", "Write: status [short|full]."),
            ("alerts now", "Write: alerts."),
            (
                "watch",
                "Write: watch add <PROCESS>, or: watch remove <PROCESS>, or: watch list.",
            ),
            ("watch add \"x", "A quote is not closed."),
            ("fake cpu much", "“much” is neither a number nor “off”."),
        ] {
            assert_eq!(refusal(line), refused);
        }
        assert!(refusal("history cpu soon").contains("not a length of time"));
        assert!(refusal(&"x".repeat(600)).contains("500"));
    }

    #[test]
    fn words_are_completed() {
        assert_eq!(completions("", "st"), ["status"]);
        assert_eq!(completions("", "w"), ["watch", "wait"]);
        assert_eq!(completions("watch ", ""), ["add", "remove", "list"]);
        assert_eq!(completions("status ", "f"), ["full"]);
        assert_eq!(completions("history ", "mem"), ["memory"]);
        assert_eq!(completions("rule add ", "sw"), ["swap"]);
        assert!(completions("history cpu ", "").is_empty());
    }
}
