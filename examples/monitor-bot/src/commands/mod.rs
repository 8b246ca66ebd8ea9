//! The commands, in one place: what they are, and what they do. Nothing here knows who asks or how it looks.

mod admins;
mod alerts;
mod database;
mod grammar;
mod help;
mod history;
mod rules;
mod script;
mod status;
mod watches;

pub use grammar::completions;
#[cfg(feature = "discord")]
pub use grammar::{COMMANDS, first_word, is_command, parse, split};
use grammar::{Held, IdOr, held, id_or};
#[cfg(feature = "web")]
pub use history::{columns, slots};
#[cfg(feature = "web")]
pub use status::{current_rules, tone};
pub use status::{greeting, places};

use crate::app::App;
use crate::error::Result;
use crate::metric::{Metric, checked_part};
use crate::reply::Reply;
use crate::rules::Rule;
use crate::span::Span;

/// A command with everything it needs. What is written here is also the help, the completion and what Discord offers.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub enum Command {
    /// how the machine is; full: every core, disk and interface
    Status {
        /// how much
        #[arg(value_name = "short|full", ignore_case = true, default_value = "short")]
        detail: Detail,
    },
    /// a metric over the last 10m, 2h, 7d … (1h), as a plot
    History {
        /// cpu, memory, disk:/ …
        metric: Metric,
        /// 10m, 2h, 7d …
        #[arg(default_value = "1h")]
        span: Span,
    },
    /// watch a process by its name
    #[command(name = "watch add")]
    WatchAdd {
        /// its name
        #[arg(value_parser = checked_part)]
        process: String,
    },
    /// watch it no longer
    #[command(name = "watch remove")]
    WatchRemove {
        /// its name
        #[arg(value_parser = checked_part)]
        process: String,
    },
    /// the watched processes
    #[command(name = "watch list")]
    WatchList,
    /// alert when memory > 85 for 30s, say; more with help rule
    #[command(name = "rule add")]
    RuleAdd {
        /// memory > 85 for 30s
        rule: Rule,
    },
    /// remove a rule; its open alerts end
    #[command(name = "rule remove")]
    RuleRemove {
        /// its number or the rule
        #[arg(value_name = "ID|RULE", value_parser = id_or::<Rule>)]
        rule: IdOr<Rule>,
    },
    /// the rules
    #[command(name = "rule list")]
    RuleList,
    /// the newest alerts, open or over
    Alerts,
    /// one of them, and the busiest processes at that time
    Alert {
        /// its number
        id: i64,
    },
    /// an alert was seen: it is silent until it gets graver
    Ack {
        /// its number, or what it is about: memory, disk:/ …
        #[arg(value_name = "ID|METRIC", value_parser = id_or::<Metric>)]
        alert: IdOr<Metric>,
    },
    /// let someone change things: on Discord a user's number
    #[command(name = "admin add")]
    AdminAdd {
        /// who
        #[arg(value_parser = checked_part)]
        id: String,
    },
    /// let them no longer
    #[command(name = "admin remove")]
    AdminRemove {
        /// who
        #[arg(value_parser = checked_part)]
        id: String,
    },
    /// who may change things
    #[command(name = "admin list")]
    AdminList,
    /// the versions of the schema, the program and the database
    #[command(name = "db version")]
    DbVersion,
    /// look at every page and every reference of the database
    #[command(name = "db check")]
    DbCheck,
    /// copy the database, into a file of its own
    #[command(name = "db backup")]
    DbBackup,
    /// this list, or more on one command
    #[command(alias = "?")]
    Help {
        /// one command
        command: Option<String>,
    },
    /// close the database and leave
    #[command(alias = "exit")]
    Quit,
    /// let time pass; with made-up metrics at once
    Wait { span: Span },
    /// hold a made-up metric at a value
    Fake {
        metric: Metric,
        #[arg(value_name = "VALUE|off", value_parser = held)]
        value: Held,
    },
}

/// How much of a status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Detail {
    /// One line for each kind of metric.
    Short,
    /// Every core, disk and interface.
    Full,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As the front end knows them.
    pub id: String,
    /// Sits at the machine itself.
    pub trusted: bool,
}

impl Caller {
    /// Whoever can start this program.
    pub fn console() -> Self {
        Self {
            id: "console".to_owned(),
            trusted: true,
        }
    }
}

/// Who may do something.
enum Needs {
    Nothing,
    Admin,
    Console,
}

impl Command {
    /// What it takes to be allowed to do this.
    fn needs(&self) -> Needs {
        match self {
            Self::Wait { .. } | Self::Fake { .. } | Self::Quit => Needs::Console,
            Self::WatchAdd { .. }
            | Self::WatchRemove { .. }
            | Self::RuleAdd { .. }
            | Self::RuleRemove { .. }
            | Self::Ack { .. }
            | Self::AdminAdd { .. }
            | Self::AdminRemove { .. }
            | Self::DbBackup => Needs::Admin,
            Self::Status { .. }
            | Self::History { .. }
            | Self::WatchList
            | Self::RuleList
            | Self::Alerts
            | Self::Alert { .. }
            | Self::AdminList
            | Self::DbVersion
            | Self::DbCheck
            | Self::Help { .. } => Needs::Nothing,
        }
    }
}

/// Does what was asked and answers.
pub async fn run(app: &App, caller: &Caller, command: Command) -> Result<Reply> {
    match command.needs() {
        _ if caller.trusted => {}
        Needs::Nothing => {}
        Needs::Admin if app.store.is_admin(&caller.id).await => {}
        Needs::Admin => refuse!("Only an admin may do this."),
        Needs::Console => {
            refuse!("This can only be done at the machine's own console.");
        }
    }
    match command {
        Command::Status { detail } => status::status(app, detail == Detail::Full).await,
        Command::History { metric, span } => history::history(app, &metric, span).await,
        Command::WatchAdd { process } => watches::add(app, &process).await,
        Command::WatchRemove { process } => watches::remove(app, &process).await,
        Command::WatchList => watches::list(app).await,
        Command::RuleAdd { rule } => rules::add(app, caller, &rule).await,
        Command::RuleRemove { rule: (id, rule) } => rules::remove(app, id, rule.as_ref()).await,
        Command::RuleList => rules::list(app).await,
        Command::Alerts => alerts::list(app).await,
        Command::Alert { id } => alerts::show(app, id).await,
        Command::Ack {
            alert: (id, metric),
        } => alerts::acknowledge(app, caller, id, metric.as_ref()).await,
        Command::AdminAdd { id } => admins::add(app, caller, &id).await,
        Command::AdminRemove { id } => admins::remove(app, &id).await,
        Command::AdminList => admins::list(app).await,
        Command::DbVersion => database::version(app).await,
        Command::DbCheck => database::check(app).await,
        Command::DbBackup => database::backup(app).await,
        Command::Help { command } => help::help(command.as_deref()),
        Command::Wait { span } => script::wait(app, span).await,
        Command::Fake { metric, value } => script::fake(app, &metric, value),
        Command::Quit => Ok(Reply {
            quit: true,
            ..Reply::default()
        }),
    }
}

/// Reads a line and does what it says; an empty one is nothing to do.
pub async fn answer(app: &App, caller: &Caller, line: &str) -> Result<Reply> {
    match grammar::split(line)?.as_slice() {
        [] => Ok(Reply::default()),
        words => run(app, caller, grammar::parse(words)?).await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use dbm_core::PointValue;
    use dbm_core::prelude::*;
    use dbm_core::testing::{Fault, fail_next, run_due_jobs, set_clock};

    use super::*;

    fn full() -> Fault {
        dbm_core::Error::other("the disk is full").into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_database_did_not_do_is_told_and_can_be_done_again() {
        let app = App::fake().await;
        let caller = Caller::console();
        for (line, method) in [
            ("history cpu", "history"),
            ("watch add nginx", "add_watch"),
            ("watch list", "watches"),
            ("watch remove nginx", "remove_watch"),
            ("rule add \"cpu > 1\"", "add_rule"),
            ("rule list", "rules"),
            ("rule remove \"cpu > 1\"", "remove_rule"),
            ("alerts", "alerts"),
            ("admin add 7", "add_admin"),
            ("admin list", "admins"),
            ("admin remove 7", "remove_admin"),
            ("db version", "facts"),
            ("wait 5s", "record"),
        ] {
            fail_next(&app.store, method, full());
            let failed = answer(&app, &caller, line).await.unwrap_err();
            assert_eq!(failed.to_string(), "The database failed: the disk is full");
            fail_next(&app.store, method, Fault::Timeout);
            let failed = answer(&app, &caller, line).await.unwrap_err().to_string();
            assert!(
                failed.contains(method) && failed.contains("timed out"),
                "{failed}"
            );
            answer(&app, &caller, line).await.unwrap();
        }
    }

    /// How often a method of the store has run.
    fn calls(app: &App, method: &str) -> u64 {
        let metrics = app.store.metrics();
        let points = metrics.points();
        let of_it = points.iter().filter(|point| {
            let is_its = |(name, value): &(_, _)| (*name, *value) == ("db.query.summary", method);
            point.name == "dbm.calls" && point.labels.iter().any(is_its)
        });
        let counts = of_it.map(|point| match point.value {
            PointValue::Counter(count) => count,
            _ => 0,
        });
        counts.sum()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_with_rules_reads_nothing_else_of_their_state() {
        let app = App::fake().await;
        answer(&app, &Caller::console(), "watch add nginx")
            .await
            .unwrap();
        let (rules, state) = (calls(&app, "rules"), calls(&app, "rule_state"));
        assert_ne!(state, 0, "the first reading was weighed");
        for line in ["status", "history cpu", "watch list"] {
            answer(&app, &Caller::console(), line).await.unwrap();
        }
        assert_eq!(calls(&app, "rules"), rules + 3);
        assert_eq!(calls(&app, "rule_state"), state);
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_is_shown_without_the_alerts_and_says_why() {
        let app = App::fake().await;
        fail_next(&app.store, "open_alerts", full());
        let reply = answer(&app, &Caller::console(), "status").await.unwrap();
        let shown = crate::render::text(&reply, crate::render::Style::PLAIN);
        assert!(shown.contains("CPU"), "{shown}");
        let problem = "The database failed: the disk is full";
        assert!(
            shown.contains(&format!("Alerts cannot be shown. {problem}")),
            "{shown}"
        );
        assert_eq!(reply.data["problem"], problem);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_could_not_be_sent_are_told_of() {
        let away = async |_| Err(refused!("no network"));
        let receivers = vec![crate::store::Receiver::new("away", away)];
        let (app, caller) = (App::telling(receivers).await, Caller::console());
        answer(&app, &caller, "fake memory 97").await.unwrap();
        answer(&app, &caller, "wait 5s").await.unwrap();
        for hours in 1..60 {
            let now = SystemTime::now() + Duration::from_secs(3_600 * hours);
            set_clock(&app.store, now).unwrap();
            run_due_jobs(&app.store).await.unwrap();
        }
        for (line, shown) in [
            (
                "status",
                "Messages that could not be sent: 1. See db version.",
            ),
            ("db version", "1, at last: no network"),
        ] {
            let reply = answer(&app, &caller, line).await.unwrap();
            let text = crate::render::text(&reply, crate::render::Style::PLAIN);
            assert!(text.contains(shown), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_an_admin_while_the_database_does_not_say_so() {
        let app = App::fake().await;
        let ada = Caller {
            id: "ada".to_owned(),
            trusted: false,
        };
        answer(&app, &Caller::console(), "admin add ada")
            .await
            .unwrap();
        fail_next(&app.store, "is_admin", full());
        let refused = answer(&app, &ada, "watch add nginx").await.unwrap_err();
        assert_eq!(refused.to_string(), "Only an admin may do this.");
        answer(&app, &ada, "watch add nginx").await.unwrap();
    }
}
