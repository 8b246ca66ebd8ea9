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

#[cfg(any(feature = "web", feature = "discord"))]
pub use alerts::headline;
pub use alerts::{event_line, process_line};
pub use grammar::COMMANDS;
pub use status::{greeting, places};

use crate::app::App;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::reply::Reply;
use crate::rules::Rule;
use crate::span::Span;

/// A command with everything it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// How the machine is; in full with every core, disk and interface.
    Status { full: bool },
    /// A metric over the last while.
    History { metric: Metric, span: Span },
    /// Watch a process.
    WatchAdd { name: String },
    /// Watch it no longer.
    WatchRemove { name: String },
    /// What is watched.
    WatchList,
    /// Have a rule.
    RuleAdd { rule: Rule },
    /// Have it no longer.
    RuleRemove { id: Option<i64>, rule: Option<Rule> },
    /// The rules.
    RuleList,
    /// The newest alerts.
    Alerts,
    /// One of them.
    Alert { id: i64 },
    /// Say that an alert was seen.
    Ack {
        id: Option<i64>,
        metric: Option<Metric>,
    },
    /// Let someone change things.
    AdminAdd { id: String },
    /// Let them no longer.
    AdminRemove { id: String },
    /// Who may change things.
    AdminList,
    /// The versions of the program, the schema and SQLite.
    DbVersion,
    /// Look at every page of the database.
    DbCheck,
    /// Copy the database.
    DbBackup,
    /// What can be typed.
    Help { topic: Option<String> },
    /// Let time pass.
    Wait { span: Span },
    /// Hold a made-up value, or let it go.
    Fake { metric: Metric, value: Option<f64> },
    /// Leave.
    Quit,
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
            Self::Nothing
            | Self::Status { .. }
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

/// What it takes to be allowed to do something.
enum Needs {
    Nothing,
    Admin,
    Console,
}

/// Does what was asked and answers.
pub async fn run(app: &App, caller: &Caller, command: Command) -> Result<Reply> {
    match command.needs() {
        _ if caller.trusted => {}
        Needs::Nothing => {}
        Needs::Admin if app.store.is_admin(&caller.id).await => {}
        Needs::Admin => return Err(Error::refused("Only an admin may do this.")),
        Needs::Console => {
            return Err(Error::refused(
                "This can only be done at the machine's own console.",
            ));
        }
    }
    match command {
        Command::Nothing => Ok(Reply::default()),
        Command::Status { full } => status::status(app, full).await,
        Command::History { metric, span } => history::history(app, &metric, span).await,
        Command::WatchAdd { name } => watches::add(app, &name).await,
        Command::WatchRemove { name } => watches::remove(app, &name).await,
        Command::WatchList => watches::list(app).await,
        Command::RuleAdd { rule } => rules::add(app, caller, &rule).await,
        Command::RuleRemove { id, rule } => rules::remove(app, id, rule.as_ref()).await,
        Command::RuleList => rules::list(app).await,
        Command::Alerts => alerts::list(app).await,
        Command::Alert { id } => alerts::show(app, id).await,
        Command::Ack { id, metric } => alerts::acknowledge(app, caller, id, metric.as_ref()).await,
        Command::AdminAdd { id } => admins::add(app, caller, &id).await,
        Command::AdminRemove { id } => admins::remove(app, &id).await,
        Command::AdminList => admins::list(app).await,
        Command::DbVersion => database::version(app).await,
        Command::DbCheck => database::check(app).await,
        Command::DbBackup => database::backup(app).await,
        Command::Help { topic } => help::help(topic.as_deref()),
        Command::Wait { span } => script::wait(app, span).await,
        Command::Fake { metric, value } => script::fake(app, &metric, value),
        Command::Quit => Ok(Reply {
            quit: true,
            ..Reply::default()
        }),
    }
}

/// Reads a line and does what it says.
pub async fn answer(app: &App, caller: &Caller, line: &str) -> Result<Reply> {
    run(app, caller, line.parse()?).await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

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
        let away = |_| Box::pin(async { Err(Error::refused("no network")) }) as _;
        let receivers = vec![crate::store::Receiver::new("away", Box::new(away))];
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
