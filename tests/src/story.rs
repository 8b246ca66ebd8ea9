//! What a process does to a ledger in tests that break it off at every point, and what must hold afterwards.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Sqlite;

use crate::ledger::{Ledger, NEW, OLD, Sight, look};
use crate::names;
use crate::shim::{Fault, Outcome, Shim};

/// A file in a directory that is watched from above.
const DATA: &str = "data/deep";
const FILE: &str = "database.db";

/// A state to begin with and the steps from there.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// For messages.
    pub name: &'static str,
    /// Makes the state, in an empty directory.
    pub begin: fn(&Stage),
    /// The version that the program has.
    pub version: &'static str,
    /// What the program `ledger` is told.
    pub steps: &'static [&'static str],
}

/// No file, no directory.
pub const FIRST_START: Story = Story {
    name: "first start",
    begin: |_| {},
    version: OLD,
    steps: &["start", "write:1000,2,5", "read", "close"],
};

/// An old database, with a log that its last user did not live to empty.
pub const MIGRATION: Story = Story {
    name: "migration",
    begin: |stage| stage.leave_open(&["start", "write:0,2,8", "big:5000,20000"]),
    version: NEW,
    steps: &["start", "write:10000,1,3", "close"],
};

/// A database that no manager made, which is adopted and migrated.
pub const ADOPTION: Story = Story {
    name: "adoption",
    begin: Stage::make_foreign,
    ..MIGRATION
};

/// Tasks that share commits, then a bare connection.
pub const WRITES: Story = Story {
    name: "writes",
    begin: |stage| stage.tell(&["start", "write:0,1,3", "close"]),
    version: OLD,
    steps: &[
        "start",
        "write:10000,6,6",
        "vacuum",
        "write:20000,1,2",
        "close",
    ],
};

/// Every statement where its task is, one commit after the other, some of them by a statement itself.
pub const INLINE: Story = Story {
    name: "writes, inline",
    steps: &[
        "inline",
        "start",
        "write:10000,3,3",
        "lone:15000,4",
        "bare:20000,2",
        "read",
        "close",
    ],
    ..WRITES
};

/// Every statement on a thread.
pub const OFFLOAD: Story = Story {
    name: "writes, offloaded",
    steps: &["offload", "start", "write:10000,3,3", "read", "close"],
    ..WRITES
};

/// What may be lost in a power loss, but not torn.
pub const NORMAL: Story = Story {
    name: "writes, without durability",
    steps: &["normal", "start", "write:10000,3,3", "close"],
    ..WRITES
};

/// A log that its last user did not live to empty.
pub const RECOVERY: Story = Story {
    name: "recovery",
    begin: |stage| stage.leave_open(&["start", "write:0,3,8"]),
    version: OLD,
    steps: &["start", "reads:150", "write:10000,1,2", "read", "close"],
};

/// Nobody writes, and the log that the last user left must neither be lost nor stay unreadable.
pub const READS: Story = Story {
    name: "reads of a log",
    steps: &["start", "read", "reads:150", "close"],
    ..RECOVERY
};

/// A database without WAL, as the reference makes it, whose last user died in the midst of a transaction.
pub const JOURNAL: Story = Story {
    name: "hot journal",
    begin: Stage::leave_journal,
    version: NEW,
    steps: &["start", "write:10000,1,2", "close"],
};

/// A log that grows until checkpoints run beside the writer and hold it, with the smallest pages there are.
pub const CHECKPOINTS: Story = Story {
    name: "checkpoints",
    begin: Stage::make_small_pages,
    version: OLD,
    steps: &[
        "start",
        "big:1,300000",
        "write:1000,2,5",
        "big:2,2200000",
        "write:10000,2,5",
        "close",
    ],
};

/// A place of its own for one run of a story.
#[derive(Debug)]
pub struct Stage {
    root: PathBuf,
    program: &'static str,
}

impl Stage {
    fn new(root: PathBuf, program: &'static str) -> Self {
        fs::create_dir_all(root.join("data/tmp")).unwrap();
        Self { root, program }
    }

    /// The directory whose calls are counted.
    #[must_use]
    pub fn watched(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The directory of the database.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.root.join(DATA)
    }

    fn file(&self) -> PathBuf {
        self.directory().join(FILE)
    }

    /// The program, with its orders.
    #[must_use]
    pub fn command(&self, version: &str, steps: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .arg(self.directory())
            .arg(version)
            .args(steps)
            .env("SQLITE_TMPDIR", self.root.join("data/tmp"));
        command
    }

    fn tell(&self, steps: &[&str]) {
        let output = self.command(OLD, steps).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.ends_with("close ok\nend\n"), "{said}");
    }

    /// The program ends without closing, so that its log stays.
    fn leave_open(&self, steps: &[&str]) {
        let output = self.command(OLD, steps).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("failed"), "{said}");
        let log = fs::metadata(self.directory().join("database.db-wal")).unwrap();
        assert!(log.len() > 0, "no log is left");
    }

    fn make_foreign(&self) {
        self.tell(&["start", "write:0,2,8", "close"]);
        let db = Sqlite::open(self.file()).unwrap();
        db.execute_batch("DROP TABLE Version; PRAGMA journal_mode = DELETE")
            .unwrap();
    }

    fn make_small_pages(&self) {
        fs::create_dir_all(self.directory()).unwrap();
        let db = Sqlite::open(self.file()).unwrap();
        db.execute_batch("PRAGMA page_size = 512; VACUUM").unwrap();
    }

    /// The files as they are while a transaction of a rollback journal is under way.
    fn leave_journal(&self) {
        self.tell(&["start", "write:0,2,8", "close"]);
        let db = Sqlite::open(self.file()).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = DELETE;
             PRAGMA cache_size = 1;
             PRAGMA cache_spill = 1;
             BEGIN;
             UPDATE Version SET major = 7;
             UPDATE entry SET text = hex(zeroblob(2000))",
        )
        .unwrap();
        for name in ["database.db", "database.db-journal"] {
            let copy = self.root.join(name);
            fs::copy(self.directory().join(name), copy).unwrap();
        }
        drop(db);
        for name in ["database.db", "database.db-journal"] {
            fs::rename(self.root.join(name), self.directory().join(name)).unwrap();
        }
    }

    fn copy_of(&self, other: &Self) {
        copy_files(&other.watched(), &self.watched());
    }

    /// What SQLite alone makes of the files, without touching them.
    ///
    /// # Errors
    ///
    /// That they are neither old nor new.
    pub fn look(&self) -> Result<Option<Sight>, String> {
        let copy = self.root.join("look");
        copy_files(&self.directory(), &copy);
        let sight = look(&copy.join(FILE));
        fs::remove_dir_all(copy).unwrap();
        sight
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_files(&source, &target);
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}

/// What must hold after a story was broken off: told by what the program has said.
#[derive(Debug, Default)]
pub struct Claims {
    /// Entries that must be there.
    pub present: BTreeSet<i64>,
    /// Entries that must not.
    pub absent: BTreeSet<i64>,
    /// The program said that it runs.
    pub started: bool,
    /// A file that could not be removed.
    pub may_stay: Option<String>,
}

impl Claims {
    /// Adds what a run has said, and what it could not remove.
    pub fn hear(&mut self, outcome: &Outcome) {
        self.hear_lines(outcome.lines.iter().map(String::as_str));
        let kept = |call: &String| call.strip_prefix("unlink ./deep/").map(str::to_owned);
        let refused = outcome.calls.last().filter(|_| !outcome.killed);
        self.may_stay = refused.and_then(kept);
    }

    /// Adds what was said.
    pub fn hear_lines<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        for line in lines {
            self.present.extend(number(line, "added "));
            if !line.contains("unknown:") {
                self.absent.extend(number(line, "refused "));
            }
            self.started |= line == "start ok";
        }
    }
}

/// The number behind a word.
fn number(line: &str, word: &str) -> Option<i64> {
    line.strip_prefix(word)?.split(' ').next()?.parse().ok()
}

/// Many runs of one story.
#[derive(Debug)]
pub struct Theatre {
    story: Story,
    template: Stage,
    before: BTreeSet<i64>,
    existed: bool,
    directory: tempfile::TempDir,
    program: &'static str,
    next: AtomicUsize,
}

impl Theatre {
    /// Sets the scene; `program` is `env!("CARGO_BIN_EXE_ledger")`.
    #[must_use]
    pub fn new(story: Story, program: &'static str) -> Self {
        let directory = fast_directory();
        let template = Stage::new(directory.path().join("template"), program);
        (story.begin)(&template);
        let sight = template.look().unwrap();
        Self {
            story,
            template,
            existed: sight.is_some(),
            before: sight.map(|sight| sight.entries).unwrap_or_default(),
            directory,
            program,
            next: AtomicUsize::new(0),
        }
    }

    /// A fresh copy of the scene.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stage = self.empty_stage();
        stage.copy_of(&self.template);
        stage
    }

    /// A place without anything.
    #[must_use]
    pub fn empty_stage(&self) -> Stage {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        Stage::new(self.directory.path().join(number), self.program)
    }

    /// Plays the story once.
    ///
    /// # Errors
    ///
    /// What went wrong with the program, whatever happened to it.
    pub fn play(
        &self,
        shim: &Shim,
        stage: &Stage,
        fault: &Fault,
        steps: &[&str],
    ) -> Result<Outcome, String> {
        let mut command = stage.command(self.story.version, steps);
        let outcome = shim.run(&mut command, &stage.watched(), fault, None)?;
        match outcome.violation() {
            Some(violation) => Err(format!("{violation}; {}", outcome.report())),
            None if !outcome.killed && !outcome.said("end") => {
                Err(format!("it broke off; {}", outcome.report()))
            }
            None => Ok(outcome),
        }
    }

    /// Another process that does the same at the same time, waiting where it must.
    ///
    /// # Errors
    ///
    /// What went wrong with it.
    pub fn accompany(&self, stage: &Stage) -> Result<Vec<String>, String> {
        let steps = ["patient", "start", "write:500000,1,3", "close"];
        let output = stage.command(self.story.version, &steps).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if said.starts_with("start ok") && said.ends_with("close ok\nend\n") {
            return Ok(said.lines().map(str::to_owned).collect());
        }
        Err(format!("the other process: {said}"))
    }

    /// Plays the story undisturbed and writes down every change of the directory.
    ///
    /// # Errors
    ///
    /// That it hangs.
    pub fn record(&self, shim: &Shim, stage: &Stage, record: &Path) -> Result<Outcome, String> {
        let mut command = stage.command(self.story.version, self.story.steps);
        let fault = Fault::default();
        shim.run(&mut command, &stage.watched(), &fault, Some(record))
    }

    /// All calls of an undisturbed run that are counted.
    pub fn calls(&self, shim: &Shim, calls: &'static str) -> Vec<String> {
        let fault = Fault {
            calls,
            ..Fault::default()
        };
        let outcome = self
            .play(shim, &self.stage(), &fault, self.story.steps)
            .unwrap();
        let undisturbed = !outcome.lines.iter().any(|line| line.contains("failed:"));
        assert!(undisturbed, "{:?}", outcome.lines);
        outcome.calls
    }

    /// Looks at what is left, starts again, looks again.
    ///
    /// # Errors
    ///
    /// What is not as it must be.
    pub fn judge(&self, stage: &Stage, claims: &Claims) -> Result<(), String> {
        let story = &self.story;
        let left = stage.look()?;
        if left.is_none() && (self.existed || claims.started) {
            return Err("the database is gone".to_owned());
        }
        if let Some(left) = &left {
            self.judge_entries(left, claims)?;
            if claims.started && left.version != story.version {
                return Err(format!("it ran, but the version is {}", left.version));
            }
        }
        let hooks = usize::from(
            left.as_ref()
                .is_none_or(|left| left.version != story.version),
        );
        start_again(&stage.directory(), story.version, hooks)?;
        let healed = look(&stage.file())?.ok_or("the database is gone after the next start")?;
        self.judge_entries(&healed, claims)?;
        if let Some(left) = left
            && !healed.entries.is_superset(&left.entries)
        {
            return Err("the next start lost entries".to_owned());
        }
        self.judge_files(stage, claims.may_stay.as_deref())
    }

    fn judge_entries(&self, sight: &Sight, claims: &Claims) -> Result<(), String> {
        let lost: Vec<_> = self
            .before
            .union(&claims.present)
            .filter(|id| !sight.entries.contains(id))
            .collect();
        if !lost.is_empty() {
            return Err(format!("lost: {lost:?}"));
        }
        let wrong: Vec<_> = claims.absent.intersection(&sight.entries).collect();
        if !wrong.is_empty() {
            return Err(format!("refused, but there: {wrong:?}"));
        }
        Ok(())
    }

    /// Nothing but the database is left, and one backup where there was a migration.
    fn judge_files(&self, stage: &Stage, may_stay: Option<&str>) -> Result<(), String> {
        let mut beside = names(&stage.directory());
        beside.retain(|name| name != FILE && Some(name.as_str()) != may_stay);
        if self.story.version == NEW {
            let [backup] = beside.as_slice() else {
                return Err(format!("beside the database: {beside:?}"));
            };
            let backup = look(&stage.directory().join(backup))?;
            let entries = backup.filter(|sight| sight.version != NEW);
            if !entries.is_some_and(|sight| sight.entries.is_superset(&self.before)) {
                return Err("the backup is not the old database".to_owned());
            }
        } else if !beside.is_empty() {
            return Err(format!("beside the database: {beside:?}"));
        }
        let temporary = names(&stage.watched().join("tmp"));
        if temporary.is_empty() {
            Ok(())
        } else {
            Err(format!("temporary files: {temporary:?}"))
        }
    }
}

/// The next start heals by itself, and the manager works.
fn start_again(directory: &Path, version: &str, hooks: usize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(crate::within(async {
            let ledger = Ledger::open(Config::new(directory), version).await?;
            let called = ledger.hooks.load(Ordering::Relaxed);
            ledger.add(-1, "the next start").await?;
            ledger.close().await?;
            if called != hooks {
                return Err(Error::other(format!("init or migrate ran {called} times")));
            }
            Ok(())
        }))
        .map_err(|error| format!("the next start: {error}"))
}

/// What a killed process has written stays, so a file system in memory will do, and is faster.
fn fast_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
