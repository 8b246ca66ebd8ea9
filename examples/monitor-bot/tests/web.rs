//! The status page as a browser and other programs read it.
#![cfg(feature = "web")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{Service, fake_bot, script};
use serde_json::Value;

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
    assert_eq!(status["cards"][0]["metric"], "cpu");
    assert_eq!(status["alerts"], serde_json::json!([]));

    let (_, body) = get(&address, "/api/history?metric=disk%3A%2F&span=10m");
    let history: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(history["metric"], "disk:/");
    assert!(
        history["values"][0]["average"].as_f64().unwrap() > 50.0,
        "{body}"
    );

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
