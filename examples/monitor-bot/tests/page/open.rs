//! A page of a running bot in a browser.

use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

use crate::browser::Browser;
use crate::common::{Service, fake_bot, script};
use crate::proxy::Proxy;

/// The sizes of a desk and of a phone.
pub const DESK: (u32, u32) = (1280, 960);
pub const PHONE: (u32, u32) = (390, 844);

/// A bot with the history that a script makes, a page of it, and the proxy between both. None without a browser.
pub struct Open {
    pub browser: Browser,
    pub proxy: Proxy,
    pub service: Service,
    _data: TempDir,
}

impl Open {
    pub async fn page(lines: &str) -> Option<Self> {
        let Some(mut browser) = Browser::start().await else {
            // The harness shows this of a test that passes, too.
            let mut log = std::io::stderr();
            writeln!(log, "SKIPPED: there is no Chromium here").unwrap();
            return None;
        };
        let data = tempfile::tempdir().unwrap();
        let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
        assert!(ok, "{out}");
        let (service, address) = serve(data.path());
        let proxy = Proxy::start(address.parse().unwrap()).await;
        browser.size(DESK).await;
        browser.scheme("light").await;
        Some(Self {
            browser,
            proxy,
            service,
            _data: data,
        })
    }

    /// Loads a page on which all is well, and its charts.
    pub async fn load(&mut self, span: &str) {
        let address = format!("{}/#{span}", self.proxy.address);
        self.browser.open(&address).await;
        self.state("well").await;
        self.shows(span).await;
        // A page that is loaded again has forgotten this.
        self.browser.text("window.stayed = 'yes'").await;
    }

    pub async fn state(&mut self, state: &str) {
        let is = format!("document.body?.dataset.state === {state:?}");
        self.browser.until(&is).await;
    }

    pub async fn shows(&mut self, span: &str) {
        let is = format!("document.body.dataset.history === {span:?}");
        self.browser.until(&is).await;
    }

    pub async fn choose(&mut self, span: &str) {
        let click = format!("document.querySelector('#spans [value={span:?}]').click()");
        self.browser.text(&click).await;
    }

    pub async fn is_old(&mut self) -> bool {
        let filter = "getComputedStyle(document.querySelector('main')).filter";
        self.browser.text(filter).await == "grayscale(1)"
    }

    /// Everything the browser did not like must contain one of these.
    pub async fn end(self, expected: &[&str]) {
        let complaints = self.browser.complaints();
        let other = |said: &&String| !expected.iter().any(|part| said.contains(part));
        assert_eq!(complaints.iter().find(other), None);
        self.browser.close().await;
        self.service.stop("TERM");
    }
}

/// A bot that measures every second, and where its page is.
fn serve(data: &Path) -> (Service, String) {
    std::fs::write(data.join("monitor-bot.toml"), "[collect]\nevery = \"1s\"\n").unwrap();
    let mut service = Service::start(data, |command| {
        command.args(["--web", "127.0.0.1:0"]);
    });
    let written = service.wait_for("page at http://");
    let address = written.split("page at http://").nth(1).unwrap();
    let address = address.lines().next().unwrap().to_owned();
    (service, address)
}
