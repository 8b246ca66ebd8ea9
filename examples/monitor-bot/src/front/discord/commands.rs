//! The commands as Discord offers them; each only gathers its words and hands over.

use super::{Context, send};
use crate::app::App;
use crate::commands::{self, Caller, Command};
use crate::error::{Error, Result};
use crate::metric::checked_part;
use crate::span::Span;

type Commands = Vec<poise::Command<std::sync::Arc<App>, Error>>;

pub(super) fn all() -> Commands {
    vec![
        status(),
        history(),
        watch(),
        rule(),
        alerts(),
        ack(),
        admin(),
        db(),
        help(),
    ]
}

async fn run(context: Context<'_>, command: Command) -> Result<()> {
    let caller = Caller {
        id: context.author().id.to_string(),
        trusted: false,
    };
    // An answer may take longer than Discord waits for one.
    context
        .defer()
        .await
        .map_err(|error| super::failed(&error))?;
    let reply = commands::run(context.data(), &caller, command).await?;
    send(context, &reply).await
}

#[derive(poise::ChoiceParameter)]
enum Detail {
    #[name = "short"]
    Short,
    #[name = "full"]
    Full,
}

/// How the machine is now
#[poise::command(slash_command, prefix_command)]
async fn status(
    context: Context<'_>,
    #[description = "how much"] detail: Option<Detail>,
) -> Result<()> {
    run(
        context,
        Command::Status {
            full: matches!(detail, Some(Detail::Full)),
        },
    )
    .await
}

/// A metric over the last while
#[poise::command(slash_command, prefix_command)]
async fn history(
    context: Context<'_>,
    #[description = "cpu, memory, disk:/ …"] metric: String,
    #[description = "10m, 2h, 7d …"] span: Option<String>,
) -> Result<()> {
    let span = span.map_or(Ok(Span::hours(1)), |span| span.parse())?;
    run(
        context,
        Command::History {
            metric: metric.parse()?,
            span,
        },
    )
    .await
}

/// The watched processes
#[poise::command(
    slash_command,
    prefix_command,
    subcommands("watch_add", "watch_remove", "watch_list")
)]
async fn watch(context: Context<'_>) -> Result<()> {
    run(context, Command::WatchList).await
}

/// Watch a process
#[poise::command(slash_command, prefix_command, rename = "add")]
async fn watch_add(
    context: Context<'_>,
    #[description = "its name"]
    #[rest]
    process: String,
) -> Result<()> {
    run(
        context,
        Command::WatchAdd {
            name: checked_part(&process)?,
        },
    )
    .await
}

/// Watch it no longer
#[poise::command(slash_command, prefix_command, rename = "remove")]
async fn watch_remove(
    context: Context<'_>,
    #[description = "its name"]
    #[rest]
    process: String,
) -> Result<()> {
    run(
        context,
        Command::WatchRemove {
            name: checked_part(&process)?,
        },
    )
    .await
}

/// The watched processes
#[poise::command(slash_command, prefix_command, rename = "list")]
async fn watch_list(context: Context<'_>) -> Result<()> {
    run(context, Command::WatchList).await
}

/// The rules
#[poise::command(
    slash_command,
    prefix_command,
    subcommands("rule_add", "rule_remove", "rule_list")
)]
async fn rule(context: Context<'_>) -> Result<()> {
    run(context, Command::RuleList).await
}

/// Add a rule
#[poise::command(slash_command, prefix_command, rename = "add")]
async fn rule_add(
    context: Context<'_>,
    #[description = "memory > 85 for 30s"]
    #[rest]
    rule: String,
) -> Result<()> {
    run(
        context,
        Command::RuleAdd {
            rule: rule.trim_matches('"').parse()?,
        },
    )
    .await
}

/// Remove a rule
#[poise::command(slash_command, prefix_command, rename = "remove")]
async fn rule_remove(context: Context<'_>, #[description = "its number"] id: i64) -> Result<()> {
    run(
        context,
        Command::RuleRemove {
            id: Some(id),
            rule: None,
        },
    )
    .await
}

/// The rules
#[poise::command(slash_command, prefix_command, rename = "list")]
async fn rule_list(context: Context<'_>) -> Result<()> {
    run(context, Command::RuleList).await
}

/// The newest alerts
#[poise::command(slash_command, prefix_command)]
async fn alerts(context: Context<'_>) -> Result<()> {
    run(context, Command::Alerts).await
}

/// Say that an alert was seen
#[poise::command(slash_command, prefix_command)]
async fn ack(
    context: Context<'_>,
    #[description = "its number"] id: Option<i64>,
    #[description = "or what it is about: memory, disk:/ …"]
    #[rest]
    metric: Option<String>,
) -> Result<()> {
    let metric = metric.map(|metric| metric.parse()).transpose()?;
    run(context, Command::Ack { id, metric }).await
}

/// Who may change something
#[poise::command(
    slash_command,
    prefix_command,
    subcommands("admin_add", "admin_remove", "admin_list")
)]
async fn admin(context: Context<'_>) -> Result<()> {
    run(context, Command::AdminList).await
}

/// Let someone change things
#[poise::command(slash_command, prefix_command, rename = "add")]
async fn admin_add(
    context: Context<'_>,
    #[description = "who"] user: poise::serenity_prelude::User,
) -> Result<()> {
    run(
        context,
        Command::AdminAdd {
            id: user.id.to_string(),
        },
    )
    .await
}

/// Let them no longer
#[poise::command(slash_command, prefix_command, rename = "remove")]
async fn admin_remove(
    context: Context<'_>,
    #[description = "who"] user: poise::serenity_prelude::User,
) -> Result<()> {
    run(
        context,
        Command::AdminRemove {
            id: user.id.to_string(),
        },
    )
    .await
}

/// Who may change something
#[poise::command(slash_command, prefix_command, rename = "list")]
async fn admin_list(context: Context<'_>) -> Result<()> {
    run(context, Command::AdminList).await
}

/// The database
#[poise::command(
    slash_command,
    prefix_command,
    subcommands("db_version", "db_check", "db_backup")
)]
async fn db(context: Context<'_>) -> Result<()> {
    run(context, Command::DbVersion).await
}

/// The versions of schema, program and SQLite
#[poise::command(slash_command, prefix_command, rename = "version")]
async fn db_version(context: Context<'_>) -> Result<()> {
    run(context, Command::DbVersion).await
}

/// Check every page and every reference
#[poise::command(slash_command, prefix_command, rename = "check")]
async fn db_check(context: Context<'_>) -> Result<()> {
    run(context, Command::DbCheck).await
}

/// Copy the database
#[poise::command(slash_command, prefix_command, rename = "backup")]
async fn db_backup(context: Context<'_>) -> Result<()> {
    run(context, Command::DbBackup).await
}

/// What can be asked
#[poise::command(slash_command, prefix_command)]
async fn help(
    context: Context<'_>,
    #[description = "one command"]
    #[rest]
    topic: Option<String>,
) -> Result<()> {
    run(context, Command::Help { topic }).await
}
