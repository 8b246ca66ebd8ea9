//! The status page as a browser and other programs read it.
#![cfg(feature = "web")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

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
        body.contains("\nmonitor_cpu_percent ")
            && body.contains("monitor_disk_percent{part=\"/\"}"),
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
