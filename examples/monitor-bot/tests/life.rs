//! Starting, being told to stop, being killed, and what stays.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Service, bot, fake_bot, script};

/// A service that makes one reading and then takes its time.
fn service(data: &Path) -> Service {
    std::fs::write(
        data.join("monitor-bot.toml"),
        "[collect]\nevery = \"60s\"\n",
    )
    .unwrap();
    let mut service = Service::start(data, |command| {
        command.arg("--no-web");
    });
    service.wait_for("watching");
    service
}

#[cfg(unix)]
#[test]
fn a_signal_closes_in_order() {
    for signal in ["TERM", "INT"] {
        let data = tempfile::tempdir().unwrap();
        let written = service(data.path()).stop(signal);
        assert!(
            written.ends_with("closed in order, 1 reading stored.\n"),
            "{written}"
        );
        let mut files: Vec<_> = std::fs::read_dir(data.path())
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(
            files,
            ["log.txt", "monitor-bot.toml", "monitor.db", "monitor.lock"]
        );
    }
}

#[test]
fn a_killed_bot_loses_nothing_it_had_stored() {
    let data = tempfile::tempdir().unwrap();
    for kill in 1..=3 {
        service(data.path()).kill();
        let (out, ok) = script(
            &mut fake_bot(data.path()),
            data.path(),
            "db check\nexpect sound\nhistory cpu 1h\n",
        );
        assert!(ok, "{out}");
        assert!(
            out.contains(&format!("{} values", 2 * kill)),
            "one of each start: {out}"
        );
    }
}

#[test]
fn a_second_bot_on_a_folder_is_refused_and_commands_are_answered() {
    let data = tempfile::tempdir().unwrap();
    let service = service(data.path());
    for mode in ["--headless", "--fake-metrics"] {
        let output = bot()
            .arg(mode)
            .arg("--data-dir")
            .arg(data.path())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let folder = data.path().display().to_string();
        assert!(
            told.contains(&folder) && told.contains("--data-dir"),
            "{told}"
        );
    }
    // One that only asks stores nothing, and what it changes is there for the other one.
    let mut guest = bot();
    guest.arg("--data-dir").arg(data.path());
    let lines = "watch add nginx\ndb backup\nexpect Copied\nhistory cpu 400d\nstatus\nexpect CPU\n";
    let (out, ok) = script(&mut guest, data.path(), lines);
    assert!(
        ok && out.contains("closed in order, 0 readings stored."),
        "{out}"
    );
    service.kill();
    let lines = "watch list\nexpect nginx\nhistory cpu 1h\nexpect 2 values\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "one of the service, one of now: {out}");
}

#[test]
fn the_demo_walks_through() {
    let output = bot().arg("--demo").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    for line in [
        "Schema 1.0.0",
        "Schema 1.6.0: 30 readings",
        "It did not start",
        "as before: 30 readings",
        "seen by console",
        "Status: Stopped",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let last = out
        .lines()
        .rfind(|line| line.starts_with("Files:"))
        .unwrap();
    assert!(!last.contains("-wal") && !last.contains("-shm"), "{last}");
}

#[test]
fn a_database_that_is_none_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("monitor.db");
    std::fs::write(&file, "this is no database, and must stay as it is").unwrap();
    let output = fake_bot(data.path())
        .write_stdin("status\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("monitor-bot: ")
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "this is no database, and must stay as it is"
    );
}

#[test]
fn a_backup_is_a_database_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let (out, ok) = script(
        &mut fake_bot(data.path()),
        data.path(),
        "watch add nginx\nwait 1m\ndb backup\nexpect Copied\nfails db backup\nexpect exists already\nstatus\n",
    );
    assert!(ok, "{out}");
    let backup = std::fs::read_dir(data.path().join("backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let other = tempfile::tempdir().unwrap();
    std::fs::copy(backup, other.path().join("monitor.db")).unwrap();
    let (out, ok) = script(
        &mut fake_bot(other.path()),
        other.path(),
        "watch list\nexpect nginx\ndb check\nexpect sound\n",
    );
    assert!(ok, "{out}");
}

#[test]
fn wrong_options_are_told() {
    for arguments in [
        &["--seed", "1"][..],
        &["--script"],
        &["--headless", "--script", "x"],
        &["--log", "x=y=z"],
        &["--log", "loud"],
    ] {
        assert_eq!(
            bot().args(arguments).output().unwrap().status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let output = bot()
        .args(["--fake-metrics", "--script", "no such file"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot be read")
    );
}

#[cfg(not(feature = "discord"))]
#[test]
fn a_token_without_discord_is_told_of() {
    let data = tempfile::tempdir().unwrap();
    let mut service = Service::start(data.path(), |command| {
        command
            .args(["--no-web"])
            .env("DISCORD_TOKEN", "a-token-nobody-may-see");
    });
    let written = service.wait_for("watching");
    assert!(
        written.contains("built without `--features discord`")
            && !written.contains("nobody-may-see"),
        "{written}"
    );
    service.stop("TERM");
}
