//! Bots of two machines and one PostgreSQL server, as their users start them.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;
#[path = "../../../dbm-postgres/tests/support/mod.rs"]
mod support;

use std::path::Path;

use common::{Service, bot, fake_bot, script};
use support::{Database, Server, shared};
use tempfile::TempDir;

/// The data folder of a machine that shares a database.
fn machine(database: &Database<'_>, host: &str) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let url = database.description();
    let settings =
        format!("[collect]\nevery = \"60s\"\n\n[database]\nurl = \"{url}\"\nhost = \"{host}\"\n");
    std::fs::write(data.path().join("monitor-bot.toml"), settings).unwrap();
    data
}

fn runs(data: &Path, lines: &str) {
    let (out, ok) = script(&mut fake_bot(data), data, lines);
    assert!(ok, "{out}");
}

#[test]
fn two_machines_share_a_server_and_each_has_its_own_history() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (one, other) = (machine(&database, "one"), machine(&database, "other"));
    let at_once = std::thread::scope(|scope| {
        let lines =
            "watch add nginx\nfake memory 97\nwait 2m\nalerts\nexpect Memory\nexpect-not Swap\n";
        let one = scope.spawn(|| runs(one.path(), lines));
        let lines = "fake swap 97\nwait 5m\nalerts\nexpect Swap\nexpect-not Memory\nwatch list\nexpect-not nginx\n";
        let other = scope.spawn(|| runs(other.path(), lines));
        (one.join().is_ok(), other.join().is_ok())
    });
    assert_eq!(at_once, (true, true));
    let mut services = [&one, &other].map(|data| {
        Service::start(data.path(), |command| {
            command.arg("--no-web");
        })
    });
    for service in &mut services {
        let written = service.wait_for("watching");
        assert!(written.contains("Data on a server"), "{written}");
    }
    for service in services {
        let written = service.stop("TERM");
        assert!(
            written.ends_with("closed in order, 1 reading stored.\n"),
            "{written}"
        );
    }
    // Two starts before this one, and a reading in each minute that has passed.
    let lines = "history cpu 1h\nexpect 5 values\nwatch list\nexpect nginx\nrule add \"load > 99\"\nadmin add ada\n";
    runs(one.path(), lines);
    let lines =
        "history cpu 1h\nexpect 8 values\nrule list\nexpect load > 99\nadmin list\nexpect ada\n";
    runs(other.path(), lines);
    assert_eq!(
        database.ask("SELECT string_agg(DISTINCT host, ' ') FROM alert"),
        "one other"
    );
    assert!(!one.path().join("monitor.db").exists());

    // From the one about the other one.
    let mut guest = bot();
    guest
        .arg("--data-dir")
        .arg(one.path())
        .args(["--host", "other"]);
    let lines = "status\nexpect other\nexpect CPU\nhistory cpu 400d\nexpect 8 values\nalerts\nexpect Swap\nexpect-not Memory\n";
    let (out, ok) = script(&mut guest, one.path(), lines);
    assert!(
        ok && out.contains("closed in order, 0 readings stored."),
        "{out}"
    );
}

#[test]
fn another_machine_is_asked_about_without_a_folder_or_a_lock_of_this_one() {
    let Some(server) = shared() else { return };
    let database = server.database();
    runs(machine(&database, "one").path(), "wait 1m\n");
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let mut guest = bot();
    guest.arg("--data-dir").arg(&none);
    guest.args(["--host", "one", "--database", &database.description()]);
    let asked = guest.write_stdin("status\n").assert().success();
    let told = String::from_utf8_lossy(&asked.get_output().stdout).into_owned();
    assert!(told.starts_with("one · "), "{told}");
    assert!(!none.exists());
}

#[test]
fn what_is_of_a_file_is_refused_on_a_server_in_a_sentence() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let data = tempfile::tempdir().unwrap();
    let mut bot = fake_bot(data.path());
    bot.arg("--database").arg(database.description());
    let lines = "fails db backup\nexpect pg_dump\nfails db check\nexpect pg_amcheck\ndb version\nexpect PostgreSQL 15\nexpect readings 1\n";
    let (out, ok) = script(&mut bot, data.path(), lines);
    assert!(ok, "{out}");
}

#[test]
fn no_password_is_told_whatever_is_wrong() {
    for server in [
        "postgres://bot:s3cret@127.0.0.1:1/monitor",
        "postgres://bot:s3cret@127.0.0.1:port/monitor",
        "host=127.0.0.1 password=s3cret prot=1",
    ] {
        let output = bot()
            .args(["--fake-metrics", "--log", "trace", "--database", server])
            .write_stdin("status\n")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("monitor-bot: ") && !told.contains("s3cret"),
            "{told}"
        );
    }
}

#[test]
fn the_name_of_another_machine_needs_a_server_that_knows_it() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let data = tempfile::tempdir().unwrap();
    runs(machine(&database, "one").path(), "status\n");
    for (url, reason) in [
        (None, "--database"),
        (Some(database.description()), "Known are: one."),
    ] {
        let mut bot = bot();
        bot.arg("--data-dir")
            .arg(data.path())
            .args(["--host", "other"]);
        if let Some(url) = url {
            bot.arg("--database").arg(url);
        }
        let output = bot.write_stdin("status\n").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(reason), "{told}");
    }
}

#[test]
fn a_server_that_goes_away_is_an_alert_and_what_happened_is_stored_when_it_is_back() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let database = server.database();
    let data = machine(&database, "one");
    let settings = data.path().join("monitor-bot.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, text.replace("60s", "1s")).unwrap();
    let mut service = Service::start(data.path(), |command| {
        command.arg("--no-web");
    });
    service.wait_for("watching");
    server.kill();
    service.wait_for("Nothing can be stored");
    server.run();
    service.wait_for("Readings are stored again");
    service.stop("TERM");
    let of_storage = "SELECT count(*) FROM alert WHERE host = 'one' AND metric = 'storage' AND cleared_at IS NOT NULL";
    assert_eq!(database.ask(of_storage), "1");
}
