//! A headless Chromium, driven by its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(60);

/// One page of a browser.
pub struct Browser {
    process: Process,
    socket: WebSocketStream<TcpStream>,
    session: String,
    number: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// None where no Chromium is installed.
    pub async fn start() -> Option<Self> {
        let program = installed()?;
        let profile = tempfile::tempdir().unwrap();
        let mut process = Process(
            Command::new(program)
                .args([
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                ])
                .args([
                    "--hide-scrollbars",
                    "--no-first-run",
                    "--disable-background-networking",
                ])
                .args([
                    "--disable-component-update",
                    "--remote-debugging-port=0",
                    "about:blank",
                ])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let said = BufReader::new(process.0.stderr.take().unwrap());
        let (sender, address) = oneshot::channel();
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            // To its end, for the browser must not be held up by what it has to say.
            for line in said.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("DevTools listening on ")
                    && let Some(sender) = sender.take()
                {
                    sender.send(address.to_owned()).unwrap();
                }
            }
        });
        let address = timeout(PATIENCE, address).await.unwrap().unwrap();
        let host = address
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let (socket, _) = client_async(&address, stream).await.unwrap();
        let mut browser = Self {
            process,
            socket,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser
            .ask("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    pub async fn open(&mut self, address: &str) {
        self.ask("Page.navigate", json!({ "url": address })).await;
    }

    pub async fn size(&mut self, (width, height): (u32, u32)) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Light or dark.
    pub async fn scheme(&mut self, value: &str) {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.ask("Emulation.setEmulatedMedia", feature).await;
    }

    /// What an expression gives, as text.
    pub async fn text(&mut self, expression: &str) -> String {
        let asked = json!({ "expression": format!("String({expression})"), "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.text(expression).await != "true" {
            if Instant::now() > end {
                let page = self.text("document.body.innerText").await;
                panic!(
                    "never {expression}; complaints {:?}; the page:\n{page}",
                    self.complaints
                );
            }
            // The browser is asked again and again, for a page tells nobody that it has changed.
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn picture(&mut self, file: &Path) {
        let answer = self
            .ask("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let picture = decoded(answer["data"].as_str().unwrap());
        assert!(picture.starts_with(b"\x89PNG"), "it is a picture");
        std::fs::write(file, picture).unwrap();
    }

    /// Everything the browser did not like.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    pub async fn close(mut self) {
        self.session.clear();
        self.ask("Browser.close", json!({})).await;
        self.process.0.wait().unwrap();
    }

    /// Waits until an element says this.
    pub async fn until_says(&mut self, element: &str, text: &str) {
        self.until(&format!(
            "document.querySelector({element:?})?.textContent.includes({text:?})"
        ))
        .await;
    }

    /// Moves the mouse to a place in an element, from its upper left corner on.
    pub async fn hover(&mut self, element: &str, (right, down): (f64, f64)) {
        let script = format!(
            "(box => [box.x, box.y])(document.querySelector({element:?}).getBoundingClientRect())"
        );
        let corner = self.text(&script).await;
        let (x, y) = corner.split_once(',').unwrap();
        let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
        let moved = json!({ "type": "mouseMoved", "x": x + right, "y": y + down });
        self.ask("Input.dispatchMouseEvent", moved).await;
    }

    /// Presses a key.
    pub async fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let pressed = json!({ "type": kind, "key": key });
            self.ask("Input.dispatchKeyEvent", pressed).await;
        }
    }

    /// Asks the browser; what it tells in the meantime is looked through for complaints.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket
            .send(Message::Text(message.to_string()))
            .await
            .unwrap();
        loop {
            let received = timeout(PATIENCE, self.socket.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            let Ok(answer) = serde_json::from_slice::<Value>(&received.into_data()) else {
                continue;
            };
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.listen(&answer);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => {
                matches!(params["type"].as_str(), Some("error" | "warning"))
            }
            "Log.entryAdded" => {
                matches!(params["entry"]["level"].as_str(), Some("error" | "warning"))
            }
            "Network.responseReceived" => params["response"]["status"]
                .as_u64()
                .is_some_and(|status| status >= 400),
            _ => false,
        };
        if complaint {
            self.complaints.push(params.to_string());
        }
    }
}

/// A test that fails does not leave it behind.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// Base64, as the protocol sends pictures.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let Some(value) = LETTERS.iter().position(|known| *known == letter) else {
            continue;
        };
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}
