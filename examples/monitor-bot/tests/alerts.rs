//! Alerts from their first value to their end, also across restarts and crashes.
#![allow(missing_docs)]

mod common;

use common::{fake_bot, script};

fn run(data: &std::path::Path, lines: &str) -> String {
    let (out, ok) = script(&mut fake_bot(data), data, lines);
    assert!(ok, "{out}");
    out
}

#[test]
fn an_alert_is_raised_seen_and_over() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "alerts
expect no alert yet
fake memory 84
wait 5s
alerts
expect no alert yet
fake memory 86
wait 5s
alerts
expect Memory is at 86.0 %, above 85.0 %
expect open
status
expect Memory is at 86.0 %
fake memory 84
wait 5s
alerts
expect open
ack memory
expect is seen
alerts
expect seen by console
fake memory 80
wait 5s
alerts
expect over after
expect-not open
fails ack memory
expect No such alert
fails ack 99
",
    );
}

#[test]
fn a_value_must_last_as_long_as_the_rule_says() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "rule add \"swap > 50 for 30s\"
fake swap 60
wait 30s
alerts
expect no alert yet
wait 5s
alerts
expect Swap is at 60.0 %
",
    );
}

#[test]
fn a_disk_is_told_at_each_level_and_after_three_points() {
    let data = tempfile::tempdir().unwrap();
    let out = run(
        data.path(),
        "fake disk:/data 91
wait 5s
alerts
expect Disk /data is at 91.0 %, above 90.0 %
fake disk:/data 93.9
wait 5s
alerts
expect Disk /data is at 91.0 %
expect 93.9 %
fake disk:/data 94
wait 5s
alerts
expect Disk /data is at 94.0 %, above 90.0 %
fake disk:/data 95.1
wait 5s
alerts
expect Disk /data is at 95.1 %, above 95.0 %
ack disk:/data
fake disk:/data 98.5
wait 5s
alerts
expect Disk /data is at 95.1 %
expect seen by console
fake disk:/data 99.5
wait 5s
alerts
expect Disk /data is at 99.5 %, above 99.0 %
expect-not seen by
",
    );
    assert!(
        !out.contains("\n 2  "),
        "it is one alert all the time: {out}"
    );
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "rule add \"cpu > 1\"\nrule add \"load > 0\"\nwait 5s\nack cpu\n",
    );
    for _ in 0..3 {
        let out = run(
            data.path(),
            "wait 30s\nalerts\nexpect seen by console\nexpect-not over\n",
        );
        assert_eq!(out.matches("CPU is at").count(), 1, "{out}");
        assert_eq!(out.matches("Load is at").count(), 1, "{out}");
    }
}

#[test]
fn time_before_a_restart_counts() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "rule add \"cpu > 1 for 1m\"\nwait 40s\nalerts\nexpect no alert yet\n",
    );
    run(
        data.path(),
        "alerts\nexpect no alert yet\nwait 30s\nalerts\nexpect CPU is at\n",
    );
}

#[test]
fn a_removed_rule_or_watch_ends_its_alerts() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "rule add \"load > 0\"
watch add nginx
fake process:nginx 0
wait 5s
alerts
expect Load is at
expect Process nginx stopped
expect open
rule remove \"load > 0\"
watch remove nginx
wait 5s
alerts
expect-not open
expect rule removed after
expect not measured after
fails rule remove 6
expect no such rule
",
    );
}

#[test]
fn one_thing_is_one_alert_although_two_rules_fit() {
    let data = tempfile::tempdir().unwrap();
    let out = run(
        data.path(),
        "watch add nginx
rule add \"process:nginx stopped\"
rule add \"disk:/data > 90\"
fake process:nginx 0
fake disk:/data 96
wait 5s
alerts
expect process:nginx stopped
expect disk:/data > 90
rule remove \"disk:/data > 90\"
wait 5s
alerts
expect rule removed after
expect Disk /data is at 96.0 %, above 95.0 %
",
    );
    assert!(out.contains(" 3  ") && !out.contains(" 4  "), "{out}");
}

#[test]
fn an_alert_has_the_processes_of_its_time() {
    let data = tempfile::tempdir().unwrap();
    run(
        data.path(),
        "fake memory 97
wait 5s
fake memory 50
wait 5s
alert 1
expect over after
expect most CPU
expect postgres (100) 80.0 %
fails alert 2
expect no such alert
",
    );
}

#[test]
fn rules_are_listed_and_bounded() {
    let data = tempfile::tempdir().unwrap();
    let mut lines = String::from(
        "rule list\nexpect disk > 90/95/99 again 3\nrule add \"memory > 85\"\nexpect there already\n",
    );
    for level in 1..=95 {
        lines.push_str(&format!("rule add \"rx > {level}\"\n"));
    }
    lines.push_str("fails rule add \"tx > 1\"\nexpect no more than 100\nfails rule add \"memory >\"\nexpect is not a rule\n");
    run(data.path(), &lines);
}
