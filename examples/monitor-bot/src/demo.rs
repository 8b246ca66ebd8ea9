//! `--demo`: the life of a database in a minute, in a temporary folder.

use std::fmt::Display;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;

use crate::app::{App, Role};
use crate::clock::Clock;
use crate::commands::Caller;
use crate::error::Result;
use crate::front::Screen;
use crate::sampler::Fake;
use crate::settings::Settings;
use crate::store::Store;

const READINGS: &str = "
    INSERT INTO sample WITH RECURSIVE minute (ago) AS (VALUES (30) UNION ALL SELECT ago - 1 FROM minute WHERE ago > 1)
    SELECT 1767225600 - 60 * ago, 50 - ago, 50, 5 FROM minute;
    INSERT INTO process VALUES ('nginx');
";

/// The bot as it was first released, with what it would have measured.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct FirstRelease {
    core: ManagerCore,
}

impl Schema for FirstRelease {
    async fn init_db(&self, db: &mut WriteTransaction) -> dbm_core::Result<()> {
        db.execute_batch(include_str!("../schema/1.0.0.sql"))
            .await?;
        db.execute_batch(READINGS).await
    }
}

/// A release whose migration has a mistake.
#[derive(DbManager)]
#[db_manager(version = "99.0.0")]
struct BrokenRelease {
    core: ManagerCore,
}

impl Schema for BrokenRelease {
    async fn init_db(&self, _db: &mut WriteTransaction) -> dbm_core::Result<()> {
        Ok(())
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> dbm_core::Result<bool> {
        db.execute(sql!("DELETE FROM reading"), ()).await?;
        db.execute_batch("DROP TABLE watch; INSERT INTO no_such_table VALUES (1)")
            .await?;
        Ok(true)
    }
}

/// Walks through it.
pub async fn run(screen: Screen) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("monitor-bot-demo-")
        .tempdir()
        .map_err(|error| refused!("No temporary folder can be made: {error}."))?;
    let demo = Demo {
        screen,
        config: Config::new(folder.path()).db_name("monitor.db"),
        folder: folder.path(),
    };
    demo.first_release().await?;
    demo.migration().await?;
    demo.broken_migration().await?;
    demo.alert().await?;
    demo.say("The folder is removed. Start monitor-bot without --demo to watch this machine.")
}

struct Demo<'a> {
    screen: Screen,
    config: Config,
    folder: &'a Path,
}

impl Demo<'_> {
    /// The database as today's program opens it.
    fn store(&self) -> Arc<Store> {
        let keep = Settings::default().keep;
        Store::open(self.config.clone(), keep, Vec::new(), None)
    }

    async fn first_release(&self) -> Result<()> {
        self.step("1. A database as the first release made it")
            .await?;
        let old = FirstRelease::create(self.config.clone()).await?;
        self.say(format_args!(
            "Schema {}: 30 readings of three values each, one process.",
            old.get_version().await?
        ))?;
        old.close().await?;
        self.files()
    }

    async fn migration(&self) -> Result<()> {
        self.step("2. Today's program opens it: backup, migration and version in one transaction")
            .await?;
        self.contents("").await?;
        self.files()
    }

    async fn broken_migration(&self) -> Result<()> {
        self.step("3. A release whose migration deletes every reading, and then fails")
            .await?;
        match BrokenRelease::create(self.config.clone()).await {
            Ok(_) => return Err(refused!("The broken migration went through.")),
            Err(error) => self.say(format_args!("It did not start: {error}"))?,
        }
        self.contents(", as before").await
    }

    async fn contents(&self, remark: &str) -> Result<()> {
        let store = self.store();
        let (schema, facts) = (store.get_version().await?, store.facts().await?);
        self.say(format_args!(
            "Schema {schema}{remark}: {} readings, {} watched process.",
            facts.readings,
            store.watches().await?.len()
        ))?;
        Ok(store.close().await?)
    }

    async fn alert(&self) -> Result<()> {
        self.step("4. An alert is raised and acknowledged (on made-up metrics)")
            .await?;
        let store = self.store();
        let clock = Clock::virtual_after(store.last_sample().await?);
        let (fake, settings) = (Box::new(Fake::new(1)), Settings::default());
        let app = App::start(store, Some(fake), clock, settings, None, Role::Keeper).await?;
        for line in [
            "fake memory 97",
            "wait 30s",
            "alerts",
            "ack memory",
            "history memory 10m",
            "alerts",
        ] {
            self.say(format_args!("bot> {line}"))?;
            self.screen.answer(&app, &Caller::console(), line).await??;
            self.pause(1).await;
        }
        self.step("5. Closing: what runs is finished, the log is folded in, no side files stay")
            .await?;
        app.store.close().await?;
        self.say(format_args!("Status: {:?}.", app.store.status()))?;
        self.files()
    }

    async fn step(&self, title: &str) -> Result<()> {
        self.pause(3).await;
        self.say(format_args!(
            "\n{title}\n{}",
            "─".repeat(title.chars().count())
        ))
    }

    /// For those who read along.
    async fn pause(&self, seconds: u64) {
        if std::io::stdout().is_terminal() {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    fn files(&self) -> Result<()> {
        let unreadable = |error| refused!("The folder cannot be listed: {error}.");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        self.say(format_args!("Files: {}", names.join(", ")))
    }

    fn say(&self, text: impl Display) -> Result<()> {
        self.screen.line(text)
    }
}
