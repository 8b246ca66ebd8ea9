//! Does what its standard input says, one command a line, and answers each with one line.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Hooks, Store};
use tokio::task::JoinSet;

#[derive(Default)]
struct Child {
    store: Option<Arc<Store>>,
    locker: Option<rusqlite::Connection>,
    files: Vec<File>,
}

impl Child {
    async fn obey(&mut self, command: &str) -> Result<String> {
        match words(command).as_slice() {
            [
                how @ ("start" | "adopt" | "start-to-read"),
                directory,
                version,
            ] => {
                let version = Version::parse(version).map_err(Error::other)?;
                let config = Config::new(*directory).version(version);
                let config = match *how {
                    "adopt" => config.adopt(Version::new(1, 0, 0)),
                    "start-to-read" => config.read_only(),
                    _ => config,
                };
                let store = Store::create_hooked(config, Hooks::default()).await?;
                let answer = format!("{} {:?}", store.status(), store.calls());
                self.store = Some(store);
                Ok(answer)
            }
            ["close"] => {
                self.store()?.close().await?;
                Ok(self.store()?.status().to_string())
            }
            ["status"] => Ok(self.store()?.status().to_string()),
            ["add", id, length] => {
                let text = "x".repeat(length.parse().map_err(Error::other)?);
                self.store()?
                    .add(id.parse().map_err(Error::other)?, &text)
                    .await?;
                Ok("added".to_owned())
            }
            ["back-up", file] => {
                self.store()?.back_up(*file).await?;
                Ok("backed up".to_owned())
            }
            ["restore", backup, directory] => {
                Store::restore(*backup, Config::new(*directory)).await?;
                Ok("restored".to_owned())
            }
            ["ids"] => Ok(format!("{:?}", self.store()?.ids().await?)),
            ["lock", file] => {
                let locker = rusqlite::Connection::open(file)?;
                locker.execute_batch("BEGIN IMMEDIATE")?;
                self.locker = Some(locker);
                Ok("locked".to_owned())
            }
            ["unlock"] => {
                self.locker = None;
                Ok("unlocked".to_owned())
            }
            ["use-up-descriptors"] => {
                while let Ok(file) = File::open("/dev/null") {
                    self.files.push(file);
                }
                Ok("none left".to_owned())
            }
            ["free-descriptors"] => {
                self.files.clear();
                Ok("free".to_owned())
            }
            ["create-many", directory, count] => {
                create_many(Path::new(directory), count.parse().map_err(Error::other)?).await
            }
            _ => Err(Error::other(format!("unknown command: {command}"))),
        }
    }

    fn store(&self) -> Result<&Arc<Store>> {
        self.store
            .as_ref()
            .ok_or_else(|| Error::other("no store was started"))
    }
}

/// A path may have spaces in it: it is all between the first word and the last, or after the first.
fn words(command: &str) -> Vec<&str> {
    match command.split_once(' ') {
        Some((first @ ("lock" | "back-up"), path)) => vec![first, path],
        Some((first @ ("start" | "adopt" | "start-to-read" | "create-many"), rest)) => {
            let (path, last) = rest.rsplit_once(' ').unwrap_or((rest, ""));
            vec![first, path, last]
        }
        _ => command.split(' ').collect(),
    }
}

/// Databases in directories of their own, all at once; each is written to while all are open.
async fn create_many(directory: &Path, count: usize) -> Result<String> {
    let mut starts = JoinSet::new();
    for number in 0..count {
        let config = Config::new(directory.join(number.to_string()));
        starts.spawn(async move {
            let store = Store::create_hooked(config, Hooks::default()).await?;
            store.add(1, "x").await?;
            Ok::<_, Error>(store)
        });
    }
    let mut running = Vec::new();
    while let Some(store) = starts.join_next().await {
        running.push(store.map_err(Error::other)??);
    }
    let created = running
        .iter()
        .filter(|store| store.calls() == ["init_db"])
        .count();
    for store in &running {
        store.close().await?;
    }
    Ok(format!("{created} created"))
}

/// What kind of error it is, SQLite's code if it has one, and the text, in one line.
fn refusal(error: &Error) -> String {
    let kind = match error {
        Error::Sqlite(_) => "Sqlite",
        Error::Io { .. } => "Io",
        Error::CommitUnknown { .. } => "CommitUnknown",
        Error::TooNew { .. } => "TooNew",
        _ => "Other",
    };
    let code = error.sqlite_code();
    let code = code.map_or(String::new(), |code| format!(" (SQLite {code})"));
    format!("{kind}{code}: {error}").replace('\n', " ")
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let mut child = Child::default();
    for line in std::io::stdin().lock().lines() {
        let answer = match child.obey(&line.map_err(Error::other)?).await {
            Ok(answer) => answer,
            Err(error) => refusal(&error),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")
            .and_then(|()| output.flush())
            .map_err(Error::other)?;
    }
    Ok(())
}
