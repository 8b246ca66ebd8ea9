//! Scripts, as a user would write them.
#![allow(missing_docs)]

mod common;

use common::{bot, fake_bot, script};

#[test]
fn the_real_machine_is_measured() {
    let data = tempfile::tempdir().unwrap();
    let lines = "status\nexpect CPU\nexpect Memory\nexpect %\nhistory cpu 10m\nexpect 1 value\ndb version\nexpect 1.6.0\nquit\n";
    let (out, ok) = script(bot().arg("--data-dir").arg(data.path()), data.path(), lines);
    assert!(ok, "{out}");
    assert!(out.contains("closed in order, 1 reading stored"), "{out}");
}

#[test]
fn no_side_files_stay() {
    let data = tempfile::tempdir().unwrap();
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), "status\n");
    assert!(ok, "{out}");
    let mut files: Vec<_> = std::fs::read_dir(data.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["monitor.db", "monitor.lock", "test.script"]);
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let answers = |seed: &str| {
        let data = tempfile::tempdir().unwrap();
        let lines = "watch add nginx\nwait 5m\nstatus full\nhistory cpu 5m\nhistory disk:/ 1h\nwatch list\n";
        let (out, ok) = script(
            fake_bot(data.path()).arg("--seed").arg(seed),
            data.path(),
            lines,
        );
        assert!(ok, "{out}");
        out
    };
    assert_eq!(answers("7"), answers("7"));
    assert_ne!(answers("7"), answers("8"));
}

#[test]
fn a_script_ends_at_the_first_failure() {
    for (lines, place, reason) in [
        (
            "status\nfrobnicate\nstatus full\n",
            "test.script:2",
            "no command",
        ),
        (
            "status\n\n# so\nexpect nothing of the kind\n",
            "test.script:4",
            "does not contain",
        ),
        ("watch remove nobody\n", "test.script:1", "not watched"),
        (
            "fails status\n",
            "test.script:1",
            "should have been refused",
        ),
        ("history nothing 10m\n", "test.script:1", "no metric"),
        (
            "history process:nobody 10m\n",
            "test.script:1",
            "never been measured",
        ),
    ] {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("test.script");
        std::fs::write(&file, lines).unwrap();
        let output = fake_bot(data.path())
            .arg("--script")
            .arg(&file)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{lines}");
        assert!(
            errors.contains(place) && errors.contains(reason),
            "{lines}: {errors}"
        );
    }
}

#[test]
fn a_refusal_can_be_expected() {
    let data = tempfile::tempdir().unwrap();
    let lines = "fails watch remove nobody\nexpect not watched\nfails history cpu soon\nexpect length of time\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "{out}");
}

#[test]
fn a_restart_remembers() {
    let data = tempfile::tempdir().unwrap();
    let (out, ok) = script(
        &mut fake_bot(data.path()),
        data.path(),
        "watch add nginx\nwatch add \"my server\"\nwait 1m\n",
    );
    assert!(ok, "{out}");
    let lines = "watch list\nexpect nginx running\nexpect my server\nhistory cpu 10m\nexpect 14 values\nwatch remove nginx\nwatch list\nexpect-not nginx\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "{out}");
}

#[test]
fn commands_come_through_a_pipe_and_a_failure_shows_in_the_end() {
    let data = tempfile::tempdir().unwrap();
    let run = |lines: &str| fake_bot(data.path()).write_stdin(lines).output().unwrap();
    let good = run("status\nhistory memory 10m\n");
    assert!(good.status.success());
    assert!(
        String::from_utf8(good.stdout)
            .unwrap()
            .contains("closed in order")
    );
    let bad = run("stauts\nstatus\n");
    assert_eq!(bad.status.code(), Some(1));
    let out = String::from_utf8(bad.stdout).unwrap();
    assert!(
        out.contains("Did you mean “status”?") && out.contains("Memory"),
        "{out}"
    );
}

#[test]
fn answers_come_as_json_one_line_each() {
    let data = tempfile::tempdir().unwrap();
    let output = fake_bot(data.path())
        .arg("--json")
        .write_stdin("status\nhistory cpu 1h\nnonsense\nquit\n")
        .output()
        .unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["ok"], true);
    assert!(lines[0]["data"]["samples"][0]["value"].is_f64());
    assert_eq!(lines[1]["data"]["metric"], "cpu");
    assert_eq!(lines[2]["ok"], false);
    assert_eq!(lines[2]["error"]["kind"], "refused");
}

#[test]
fn a_configuration_is_written_once_and_read() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("monitor-bot.toml");
    let write = || {
        bot()
            .arg("--data-dir")
            .arg(data.path())
            .arg("--write-config")
            .output()
            .unwrap()
    };
    assert!(write().status.success());
    assert!(file.exists());
    assert_eq!(write().status.code(), Some(1), "it is not written over");
    std::fs::write(&file, "[collect]\nevery = \"1h\"\n").unwrap();
    let output = fake_bot(data.path())
        .write_stdin("status\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("60s at most")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("test.script");
    std::fs::write(&file, "status\nstatus\n").unwrap();
    let config = data.path().join("new.toml");
    for arguments in [
        &[][..],
        &["--json".as_ref()],
        &["--script".as_ref(), file.as_os_str()],
        &[
            "--config".as_ref(),
            config.as_os_str(),
            "--write-config".as_ref(),
        ],
        &["--help".as_ref()],
    ] {
        let run = |out: std::fs::File| {
            let mut bot = std::process::Command::new(assert_cmd::cargo::cargo_bin!("monitor-bot"));
            let mut child = bot
                .args(["--fake-metrics"])
                .args(arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(out)
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = child.stdin.take().unwrap();
            // It may have ended already.
            let _ = std::io::Write::write_all(&mut lines, b"status\nstatus\n");
            drop(lines);
            child.wait_with_output().unwrap()
        };
        let full = run(std::fs::File::create("/dev/full").unwrap());
        let errors = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(
            errors.contains("no storage space"),
            "{arguments:?}: {errors}"
        );

        // A reader that has read enough is none.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let _ = std::fs::remove_file(&config);
        let gone = run(std::os::fd::OwnedFd::from(writer).into());
        let errors = String::from_utf8(gone.stderr).unwrap();
        assert_eq!(
            (gone.status.code(), errors.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
