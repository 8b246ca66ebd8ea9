//! The status page in a real browser. Without Chromium the test says so and is skipped.
#![cfg(feature = "web")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use browser::Browser;
use common::{Service, fake_bot, script};

/// The sizes of a desk and of a phone.
const DESK: (u32, u32) = (1180, 790);
const PHONE: (u32, u32) = (390, 844);

/// Where pictures go: beside the README where that is asked for, to be thrown away otherwise.
fn pictures() -> PathBuf {
    std::env::var_os("MONITOR_BOT_PICTURES")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}

/// An hour of history, and rules of which one raises an alert some seconds from now.
fn prepare(data: &Path) {
    let lines = "watch add nginx\nwatch add \"z<b onmouseover=alert(1)>evil</b>\"\nwait 1h\nrule add \"cpu > 1 for 6s\"\n";
    let (out, ok) = script(&mut fake_bot(data), data, lines);
    assert!(ok, "{out}");
    std::fs::write(data.join("monitor-bot.toml"), "[collect]\nevery = \"1s\"\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_happens() {
    let Some(mut browser) = Browser::start().await else {
        eprintln!("skipped: there is no Chromium here");
        return;
    };
    let data = tempfile::tempdir().unwrap();
    prepare(data.path());
    let mut service = Service::start(data.path(), |command| {
        command.args(["--web", "127.0.0.1:0"]);
    });
    let written = service.wait_for("page at http://");
    let address = written
        .split("page at ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();

    browser.size(DESK).await;
    browser.scheme("light").await;
    browser.open(&address).await;
    browser
        .until("document.querySelectorAll('.card').length >= 10")
        .await;
    browser
        .until("document.querySelector('#live').textContent === 'live'")
        .await;
    browser
        .until(
            "[...document.querySelectorAll('.card .mean')].every(line => line.getAttribute('d'))",
        )
        .await;
    let first = browser
        .text("document.querySelector('.card .value').textContent")
        .await;
    browser
        .until(&format!(
            "document.querySelector('.card .value').textContent !== {first:?}"
        ))
        .await;
    // No script of a name ran, and no name became markup.
    browser
        .until("document.body.textContent.includes('<b onmouseover=alert(1)>evil</b>')")
        .await;
    assert_eq!(
        browser
            .text("document.querySelectorAll('main b').length")
            .await,
        "0"
    );

    // The alert comes by itself: a page that was loaded again would have forgotten this.
    browser.text("window.stayed = 'yes'").await;
    browser
        .until("document.querySelectorAll('#alerts li').length === 1")
        .await;
    assert!(
        browser
            .text("document.querySelector('#alerts li').textContent")
            .await
            .contains("CPU is at")
    );
    assert_eq!(browser.text("window.stayed").await, "yes");

    browser.text("[...document.querySelectorAll('#spans button')].find(button => button.textContent === '1h').click()").await;
    browser
        .until("document.querySelector('.card svg').getAttribute('aria-label').includes('1h')")
        .await;
    browser.picture(&pictures().join("page-light.png")).await;
    browser.scheme("dark").await;
    browser.picture(&pictures().join("page-dark.png")).await;
    browser.size(PHONE).await;
    assert_eq!(
        browser
            .text("document.documentElement.scrollWidth <= innerWidth")
            .await,
        "true",
        "it fits a phone"
    );
    browser.picture(&pictures().join("page-phone.png")).await;

    // What is not measured any more is not shown as if it were.
    service.signal("STOP");
    browser
        .until("document.querySelector('#live').textContent.startsWith('no new reading since')")
        .await;
    service.signal("CONT");
    browser
        .until("document.querySelector('#live').textContent === 'live'")
        .await;

    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.close().await;
    service.stop("TERM");
}
