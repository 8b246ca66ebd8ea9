//! A backup and a restore that are broken off at any call of the file system: killed, by a power failure, or by an error. A backup
//! is whole or not there. A restore leaves the old database or the new one, and the old one is never lost.

// Not on Windows: a preloaded library counts the calls, breaks them, and records what is written and synced.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use dbm_tests::disk::{Change, Disk, read_record};
use dbm_tests::ledger::{OLD, look};
use dbm_tests::points::{busy, try_all};
use dbm_tests::shim::{Fault, Outcome, Shim, Times};
use dbm_tests::{Dice, names};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// Calls after which a dead process leaves something else behind than before.
const CHANGES: &str = "create,write,sync,truncate,unlink,rename,link,mkdir,chmod,lock,close";
/// Each with another half of what was not synced.
const SEEDS: u64 = 2;

type Entries = BTreeSet<i64>;

struct Scene {
    directory: TempDir,
    steps: &'static [&'static str],
    judge: fn(&Scene, &Path, &[String]) -> Result<(), String>,
    next: AtomicUsize,
    /// What is in the database to begin with, and in the backup.
    before: Entries,
    copied: Entries,
}

impl Scene {
    fn new(
        begin: &[&str],
        steps: &'static [&'static str],
        judge: fn(&Scene, &Path, &[String]) -> Result<(), String>,
    ) -> Self {
        let directory =
            tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let mut scene = Self {
            directory,
            steps,
            judge,
            next: AtomicUsize::new(1),
            before: Entries::new(),
            copied: Entries::new(),
        };
        let template = scene.place(0);
        tell(&template, begin).unwrap();
        scene.before = scene.entries(&template, "database.db").unwrap().unwrap();
        scene.copied = scene
            .entries(&template, "copy")
            .unwrap()
            .unwrap_or_default();
        scene
    }

    /// The directory that is watched, and in it that of the database.
    fn place(&self, number: usize) -> PathBuf {
        let root = self.directory.path().join(number.to_string());
        fs::create_dir_all(root.join("data/deep")).unwrap();
        root
    }

    fn empty(&self) -> PathBuf {
        self.place(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn fresh(&self) -> PathBuf {
        let place = self.empty();
        copy_files(&deep(&self.place(0)), &deep(&place));
        place
    }

    /// What SQLite alone finds in a file, without touching it.
    fn entries(&self, place: &Path, name: &str) -> Result<Option<Entries>, String> {
        let copy = place.join("look");
        copy_files(&deep(place), &copy);
        let sight = look(&copy.join(name));
        fs::remove_dir_all(copy).unwrap();
        Ok(sight?.map(|sight| sight.entries))
    }

    fn judge(&self, place: &Path, lines: &[String]) -> Result<(), String> {
        let judged = (self.judge)(self, place, lines);
        let _ = fs::remove_dir_all(place);
        judged
    }

    fn play(&self, shim: &Shim, place: &Path, fault: &Fault, record: Option<&Path>) -> Outcome {
        let mut command = command(place, self.steps);
        shim.run(&mut command, &place.join("data"), fault, record)
            .unwrap()
    }

    fn calls(&self, shim: &Shim, calls: &'static str) -> Vec<String> {
        let fault = Fault {
            calls,
            ..Fault::default()
        };
        let outcome = self.play(shim, &self.fresh(), &fault, None);
        let lines = &outcome.lines;
        assert!(
            !lines.iter().any(|line| line.contains("failed")),
            "{lines:?}"
        );
        outcome.calls
    }
}

fn deep(place: &Path) -> PathBuf {
    place.join("data/deep")
}

fn command(place: &Path, steps: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(deep(place)).arg(OLD).args(steps);
    command
}

/// Runs the program undisturbed.
fn tell(place: &Path, steps: &[&str]) -> Result<Vec<String>, String> {
    let output = command(place, steps).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("failed") || said.contains("violation") || !said.ends_with("end\n") {
        return Err(format!("undisturbed: {said}"));
    }
    Ok(said.lines().map(str::to_owned).collect())
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

fn added(lines: &[String]) -> Entries {
    let number = |line: &String| line.strip_prefix("added ")?.parse().ok();
    lines.iter().filter_map(number).collect()
}

fn said(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line == what)
}

fn check(is_so: bool, what: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}

/// A database is copied between two writes.
fn backup() -> Scene {
    const STEPS: &[&str] = &[
        "start",
        "write:10000,1,3",
        "back-up",
        "write:20000,1,3",
        "close",
    ];
    Scene::new(&["start", "write:0,2,8", "close"], STEPS, judge_backup)
}

fn judge_backup(scene: &Scene, place: &Path, lines: &[String]) -> Result<(), String> {
    let database = scene.entries(place, "database.db")?.ok_or("no database")?;
    let acknowledged = &scene.before | &added(lines);
    check(
        database.is_superset(&acknowledged),
        "acknowledged writes are lost",
    )?;
    let copy = scene.entries(place, "copy")?;
    check(
        copy.is_some() || !said(lines, "back-up ok"),
        "the backup is gone",
    )?;
    if let Some(copy) = copy {
        let mut sure = acknowledged;
        sure.retain(|id| *id < 20_000);
        let possible = scene.before.iter().copied().chain(10_000..10_003).collect();
        let is_so = copy.is_superset(&sure) && copy.is_subset(&possible);
        return check(is_so, "the backup is another state");
    }
    tell(place, &["start", "back-up", "close"])?;
    let left = names(&deep(place));
    check(left == ["copy", "database.db"], &format!("left: {left:?}"))?;
    let copy = scene.entries(place, "copy")?.ok_or("no backup")?;
    check(copy == database, "the second backup is another state")
}

/// A backup takes the place of a database whose log its last user did not live to empty.
fn restore() -> Scene {
    const BEGIN: &[&str] = &["start", "write:0,2,8", "back-up", "write:30000,2,4"];
    const STEPS: &[&str] = &["restore", "start", "read", "close"];
    Scene::new(BEGIN, STEPS, judge_restore)
}

fn judge_restore(scene: &Scene, place: &Path, lines: &[String]) -> Result<(), String> {
    let now = scene
        .entries(place, "database.db")?
        .ok_or("a moment without a file")?;
    check(
        now == scene.before || now == scene.copied,
        "neither the old nor the new one",
    )?;
    check(
        now == scene.copied || !said(lines, "restore ok"),
        "it is not restored",
    )?;
    let copied = scene.entries(place, "copy")?.ok_or("the backup is gone")?;
    check(copied == scene.copied, "the backup has changed")?;
    if now == scene.copied {
        let replaced = scene.entries(place, "database.db.replaced")?;
        check(
            replaced.as_ref() == Some(&scene.before),
            "the old one is lost",
        )?;
    }
    // Whichever it is, it opens, and no log changes it.
    tell(place, &["start", "read", "close"])?;
    let again = scene.entries(place, "database.db")?.ok_or("it is gone")?;
    check(again == now, "the next start changes it")?;
    tell(place, &["restore", "start", "write:50000,1,1", "close"])?;
    let last = scene
        .entries(place, "database.db")?
        .ok_or("it is gone at last")?;
    let expected: Entries = scene.copied.iter().copied().chain([50_000]).collect();
    check(last == expected, "it does not work afterwards")?;
    let mut left = names(&deep(place));
    left.retain(|name| !name.starts_with("database.db.replaced"));
    check(left == ["copy", "database.db"], &format!("left: {left:?}"))
}

fn kill(name: &str, scene: &Scene) {
    let Some(shim) = Shim::get(name, TARGET.as_ref()) else {
        return;
    };
    let calls = scene.calls(shim, CHANGES);
    let mut points = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        points.push((index + 1, "kill"));
        if call.starts_with("write ") {
            points.push((index + 1, "tear"));
        }
    }
    points.push((calls.len(), "kill-after"));
    try_all(name, &points, busy(), |(at, act)| {
        let place = scene.fresh();
        let fault = Fault {
            calls: CHANGES,
            at: *at,
            act: (*act).to_owned(),
            ..Fault::default()
        };
        let outcome = scene.play(shim, &place, &fault, None);
        scene
            .judge(&place, &outcome.lines)
            .map_err(|error| format!("{error}; {}", outcome.report()))?;
        Ok(outcome.killed)
    });
}

fn cut(name: &str, scene: &Scene) {
    let Some(shim) = Shim::get(name, TARGET.as_ref()) else {
        return;
    };
    let place = scene.fresh();
    let (watched, record) = (place.join("data"), place.join("record"));
    let before = Disk::of(&watched);
    scene.play(shim, &place, &Fault::default(), Some(&record));
    let changes = read_record(&record);
    let seeds = || (0..SEEDS).map(Some).chain([None]);
    let points: Vec<_> = (0..=changes.len())
        .flat_map(|after| seeds().map(move |seed| (after, seed)))
        .collect();
    try_all(name, &points, busy(), |(after, seed)| {
        let (mut disk, mut lines) = (before.clone(), Vec::new());
        for change in &changes[..*after] {
            disk.apply(change);
            if let Change::Say(text) = change {
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        let mut dice = seed.map(|seed| Dice::new(seed ^ *after as u64));
        let other = scene.empty();
        for (path, contents) in disk.after_power_loss(&mut dice) {
            let path = other
                .join("data")
                .join(path.strip_prefix(&watched).unwrap());
            match contents {
                Some(contents) => fs::write(path, contents).unwrap(),
                None => fs::create_dir_all(path).unwrap(),
            }
        }
        scene.judge(&other, &lines).map(|()| true)
    });
}

/// A disk that fails or is full at every `stride`-th call, once or from then on; with `DBM_EVERY_POINT` set all of that at every
/// call. The program says so, and the next one works.
fn break_calls(name: &str, scene: &Scene, stride: usize) {
    const EIO: &str = "5";
    const ENOSPC: &str = "28";
    let Some(shim) = Shim::get(name, TARGET.as_ref()) else {
        return;
    };
    let calls = scene.calls(shim, "").len();
    let every = std::env::var_os("DBM_EVERY_POINT").is_some();
    let faults = [EIO, ENOSPC]
        .into_iter()
        .flat_map(|act| [Times::Once, Times::FromThenOn].map(|times| (act, times)));
    let points: Vec<_> = if every {
        let at_each = |at| faults.clone().map(move |(act, times)| (at, act, times));
        (1..=calls).flat_map(at_each).collect()
    } else {
        let calls = (1..=calls).step_by(stride);
        let in_turn = calls.zip(faults.cycle());
        in_turn.map(|(at, (act, times))| (at, act, times)).collect()
    };
    try_all(name, &points, busy(), |(at, act, times)| {
        let place = scene.fresh();
        let fault = Fault {
            at: *at,
            act: (*act).to_owned(),
            times: *times,
            ..Fault::default()
        };
        let outcome = scene.play(shim, &place, &fault, None);
        let context = |error: String| format!("{error}; {}", outcome.report());
        if let Some(violation) = outcome.violation() {
            return Err(context(violation.clone()));
        }
        scene.judge(&place, &outcome.lines).map_err(context)?;
        Ok(!outcome.calls.is_empty())
    });
}

#[test]
fn a_backup_is_killed_at_any_call() {
    kill("a backup is killed", &backup());
}

#[test]
fn a_restore_is_killed_at_any_call() {
    kill("a restore is killed", &restore());
}

#[test]
fn the_power_fails_during_a_backup() {
    cut("the power fails during a backup", &backup());
}

#[test]
fn the_power_fails_during_a_restore() {
    cut("the power fails during a restore", &restore());
}

#[test]
fn a_backup_meets_an_error_at_any_call() {
    break_calls("a backup meets an error", &backup(), 7);
}

#[test]
fn a_restore_meets_an_error_at_any_call() {
    break_calls("a restore meets an error", &restore(), 5);
}

/// Some file systems have no links: the copy gets its name, and the old file is kept, in another way.
#[test]
fn where_files_cannot_be_linked_a_backup_and_a_restore_work_too() {
    let Some(shim) = Shim::get("no links", TARGET.as_ref()) else {
        return;
    };
    for (scene, said_ok) in [(backup(), "back-up ok"), (restore(), "restore ok")] {
        let place = scene.fresh();
        let fault = Fault {
            calls: "link",
            at: 1,
            act: "1 EPERM".to_owned(),
            times: Times::FromThenOn,
        };
        let outcome = scene.play(shim, &place, &fault, None);
        assert!(!outcome.calls.is_empty(), "nothing was to be linked");
        assert!(outcome.said(said_ok), "{}", outcome.report());
        let judged = scene.judge(&place, &outcome.lines);
        assert!(judged.is_ok(), "{judged:?}; {}", outcome.report());
    }
}
