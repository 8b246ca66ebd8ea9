//! The status page as a browser and other programs read it.
#![cfg(feature = "web")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{Service, fake_bot, script};
use serde_json::{Value, json};

/// A bot with a page, and where the page is.
fn page(data: &Path) -> (Service, String) {
    std::fs::write(data.join("monitor-bot.toml"), "[collect]\nevery = \"1s\"\n").unwrap();
    let mut service = Service::start(data, |command| {
        command.args(["--web", "127.0.0.1:0"]);
    });
    let written = service.wait_for("page at http://");
    let address = written
        .split("page at http://")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    (service, address)
}

fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream
}

/// The status line with the headers, and the body.
fn get(address: &str, path: &str) -> (String, String) {
    let mut answer = String::new();
    ask(address, path).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn the_page_and_its_data_are_served() {
    let data = tempfile::tempdir().unwrap();
    let (service, address) = page(data.path());
    assert!(address.starts_with("127.0.0.1:"), "{address}");

    let (head, body) = get(&address, "/");
    assert!(
        head.starts_with("HTTP/1.1 200")
            && head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !elsewhere.contains("http://") && !elsewhere.contains("https://"),
        "nothing comes from elsewhere"
    );

    let (_, body) = get(&address, "/api/status");
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["metrics"][0]["metric"], "cpu");
    assert_eq!(status["metrics"][0]["unit"], "percent");
    assert_eq!(status["alerts"], json!([]));

    let path = "/api/history?metric=disk%3A%2F&metric=memory&span=10m";
    let (_, body) = get(&address, path);
    let history: Value = serde_json::from_str(&body).unwrap();
    let disk = &history["series"][0];
    assert_eq!(
        (&disk["metric"], &disk["limits"]),
        (&json!("disk:/"), &json!([90.0, 95.0, 99.0]))
    );
    let newest = disk["average"].as_array().unwrap().iter().rev();
    assert!(newest.flat_map(Value::as_f64).next().unwrap() > 50.0);
    assert_eq!(history["series"][1]["metric"], "memory");
    assert_eq!(history["gaps"], json!([]));

    let (head, body) = get(&address, "/healthz");
    assert!(
        head.starts_with("HTTP/1.1 200") && body.contains("Running"),
        "{head}\n{body}"
    );
    let (_, body) = get(&address, "/metrics");
    assert!(
        body.contains("\nmonitor_cpu_usage_ratio ")
            && body.contains("monitor_filesystem_usage_ratio{mountpoint=\"/\"}"),
        "{body}"
    );
    service.stop("TERM");
}

#[test]
fn what_is_asked_wrong_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let (service, address) = page(data.path());
    for path in [
        "/api/history?metric=nothing",
        "/api/history?metric=cpu&span=soon",
        "/api/history",
        "/api/history?metric=cpu&span=99999d",
        &format!("/api/history?{}", "metric=cpu&".repeat(51)),
    ] {
        assert!(get(&address, path).0.starts_with("HTTP/1.1 400"), "{path}");
    }
    let (_, body) = get(&address, "/api/history?metric=%3Cscript%3E");
    assert!(body.starts_with("{\"error\":"), "{body}");
    assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404"));
    service.stop("TERM");
}

#[test]
fn an_alert_comes_by_itself_and_an_open_page_does_not_hold_up_the_end() {
    let data = tempfile::tempdir().unwrap();
    let (out, ok) = script(
        &mut fake_bot(data.path()),
        data.path(),
        "rule add \"cpu > 1 for 3s\"\n",
    );
    assert!(ok, "{out}");
    let (service, address) = page(data.path());
    let events = BufReader::new(ask(&address, "/api/events"));
    let seen: Vec<usize> = events
        .lines()
        .map(|line| line.unwrap())
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .map(|status| status["alerts"].as_array().unwrap().len())
        .take_while(|alerts| *alerts == 0)
        .collect();
    assert!(!seen.is_empty(), "at first there is none");
    let mut open = ask(&address, "/api/events");
    let written = service.stop("TERM");
    assert!(written.contains("closed in order"), "{written}");
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).unwrap();
}

#[test]
fn an_address_in_use_is_told() {
    let data = tempfile::tempdir().unwrap();
    let (service, address) = page(data.path());
    let output = fake_bot(tempfile::tempdir().unwrap().path())
        .args(["--web", &address])
        .write_stdin("status\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("status page cannot be at")
    );
    service.stop("TERM");
}

#[test]
fn every_answer_has_the_headers_and_foreign_names_get_none() {
    let data = tempfile::tempdir().unwrap();
    let (service, address) = page(data.path());
    let asked_as = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for path in [
        "/",
        "/api/status",
        "/api/history",
        "/healthz",
        "/metrics",
        "/nothing",
    ] {
        let answer = asked_as("localhost:80", path);
        assert!(!answer.starts_with("HTTP/1.1 421"), "{path}: {answer}");
        let refused = asked_as("evil.example", path);
        assert!(refused.starts_with("HTTP/1.1 421"), "{path}: {refused}");
        assert!(
            refused.contains("“evil.example”") && !refused.contains("cpu"),
            "{path}: {refused}"
        );
        for answer in [answer, refused] {
            for header in [
                "content-security-policy: default-src 'none'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cross-origin-resource-policy: same-origin",
                "cache-control: no-store",
            ] {
                assert!(answer.contains(header), "{path}: no {header}: {answer}");
            }
        }
    }
    service.stop("TERM");
}

#[test]
fn a_client_that_asks_too_slowly_is_cut_off_and_many_idle_ones_keep_nobody_out() {
    let data = tempfile::tempdir().unwrap();
    let (service, address) = page(data.path());
    // More than are let in at a time; one of them has been answered, one has begun to ask.
    let mut idle: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    write!(idle[0], "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    write!(idle[1], "GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    assert!(get(&address, "/healthz").0.starts_with("HTTP/1.1 200"));
    for stream in &mut idle[..2] {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    service.stop("TERM");
}

#[test]
fn a_page_that_is_open_to_all_is_warned_of() {
    let data = tempfile::tempdir().unwrap();
    let mut service = Service::start(data.path(), |command| {
        command.args(["--web", "0.0.0.0:0"]);
    });
    let written = service.wait_for("watching");
    assert!(written.contains("open to every machine"), "{written}");
    service.stop("TERM");
}

/// Name, labels and value of a line, or why it is none.
fn parsed(line: &str) -> Result<(String, String, f64), String> {
    let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
    let value = value.parse().map_err(|_| "no number")?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9'))
    };
    let mut rest = labels.strip_suffix('}').ok_or("no end of the labels")?;
    while !rest.is_empty() {
        let (label, text) = rest.split_once("=\"").ok_or("no label")?;
        let mut escape = false;
        let end = text.find(|letter| {
            let ends = letter == '"' && !escape;
            escape = letter == '\\' && !escape;
            ends
        });
        let (text, after) = text.split_at(end.ok_or("no end of a label")?);
        if !is_name(label) || text.contains('\n') {
            return Err(format!("the label {label}"));
        }
        rest = after[1..].strip_prefix(',').unwrap_or(&after[1..]);
    }
    is_name(name)
        .then(|| (name.to_owned(), labels.to_owned(), value))
        .ok_or_else(|| "no name".to_owned())
}

/// Holds a text to the format: each name is described once, before its lines, and each series is there once.
fn checked(text: &str) -> Vec<(String, String, f64)> {
    let (mut names, mut series) = (HashSet::new(), HashSet::new());
    let mut current = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(names.insert(name.to_owned()) && !help.is_empty(), "{line}");
            name.clone_into(&mut current);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let kind = kind.strip_prefix(&format!("{current} ")).unwrap();
            let counts = current.ends_with("_total");
            assert_eq!(kind, if counts { "counter" } else { "gauge" }, "{line}");
        } else {
            let sample = parsed(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}"));
            assert_eq!(sample.0, current, "{line}");
            assert!(
                series.insert(format!("{} {}", sample.0, sample.1)),
                "twice: {line}"
            );
            found.push(sample);
        }
    }
    assert!(text.ends_with('\n'));
    found
}

#[test]
fn metrics_keep_to_the_format_and_show_reading_alerts_and_database() {
    let data = tempfile::tempdir().unwrap();
    let lines = "watch add 'a\"} 1 b\\'\nrule add cpu > 1\nwait 1m\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "{out}");
    let (service, address) = page(data.path());
    let (_, text) = get(&address, "/metrics");
    let found = checked(&text);
    let value = |name: &str, label: &str| {
        let is = |sample: &&(String, String, f64)| sample.0 == name && sample.1.contains(label);
        found.iter().find(is).map(|sample| sample.2)
    };
    // A whole has another name than its parts.
    let labels = |name: &str| -> Vec<&str> {
        let named = found.iter().filter(|sample| sample.0 == name);
        named.map(|sample| sample.1.as_str()).collect()
    };
    assert_eq!(labels("monitor_cpu_usage_ratio"), ["}"]);
    assert_eq!(labels("monitor_cpu_core_usage_ratio")[0], "core=\"0\"}");
    assert_eq!(
        labels("monitor_filesystem_usage_ratio")[0],
        "mountpoint=\"/\"}"
    );
    let ratio = value("monitor_memory_usage_ratio", "").unwrap();
    assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    let process = r#"process="a\"} 1 b\\""#;
    assert!(
        value("monitor_process_running", process).is_some(),
        "{text}"
    );
    assert_eq!(value("monitor_open_alerts", ""), Some(1.0));
    let alert = "metric=\"cpu\",rule=\"cpu > 1\",acknowledged=\"false\"";
    assert_eq!(value("monitor_alert_level", alert), Some(1.0));
    for name in [
        "monitor_last_reading_timestamp_seconds",
        "monitor_last_stored_reading_timestamp_seconds",
        "dbm_commits_total",
    ] {
        assert!(value(name, "").unwrap() > 0.0, "{name}");
    }
    let recorded = value(
        "dbm_calls_total",
        "db_query_summary=\"record\",outcome=\"ok\"",
    );
    assert!(recorded.unwrap() > 0.0, "{text}");
    service.stop("TERM");
}
