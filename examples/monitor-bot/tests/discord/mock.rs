//! A stand-in for Discord: its HTTP API, which takes everything and remembers it, and its gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Where people write.
pub const CHANNEL: &str = "/channels/800/";
/// Who may change nothing.
pub const STRANGER: &str = "7";

const PATIENCE: Duration = Duration::from_secs(60);

type Requests = mpsc::UnboundedSender<(String, String, Value)>;

/// Discord.
pub struct Mock {
    /// Where its HTTP API is.
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<(String, String, Value)>,
    presences: mpsc::UnboundedReceiver<Value>,
    dispatch: broadcast::Sender<Value>,
    numbers: AtomicU64,
    closed: Arc<AtomicBool>,
    code: Arc<AtomicU16>,
}

struct Api {
    gateway: SocketAddr,
    code: Arc<AtomicU16>,
    requests: Requests,
}

impl Mock {
    pub async fn start() -> Self {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = http.local_addr().unwrap();
        let (sent, requests) = mpsc::unbounded_channel();
        let (seen, presences) = mpsc::unbounded_channel();
        let code = Arc::new(AtomicU16::new(200));
        let dispatch = broadcast::Sender::new(16);
        let api = Arc::new(Api {
            gateway: gateway.local_addr().unwrap(),
            code: Arc::clone(&code),
            requests: sent,
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&api));
        tokio::spawn(axum::serve(http, router).into_future());
        let events = dispatch.clone();
        let closed = Arc::new(AtomicBool::new(false));
        let door = Arc::clone(&closed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = gateway.accept().await {
                tokio::spawn(session(
                    stream,
                    events.subscribe(),
                    seen.clone(),
                    Arc::clone(&door),
                ));
            }
        });
        Self {
            address,
            requests,
            presences,
            dispatch,
            numbers: AtomicU64::new(1_000),
            closed,
            code,
        }
    }

    /// Waits for a request and gives its body; others before it are passed over.
    pub async fn request(&mut self, method: &str, path: &str) -> Value {
        let found = async {
            loop {
                let (was, at, body) = self.requests.recv().await.unwrap();
                if was == method && at.contains(path) && !at.ends_with("/typing") {
                    return body;
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no {method} {path}"))
    }

    /// Waits until the bot shows itself like that.
    pub async fn presence(&mut self, status: &str) -> Value {
        let found = async {
            loop {
                let presence = self.presences.recv().await.unwrap();
                if presence["status"] == status {
                    return presence;
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("never {status}"))
    }

    /// Someone writes a message.
    pub fn says(&self, user: &str, text: &str) {
        self.send(
            "MESSAGE_CREATE",
            &message(&self.number(), "800", text, user),
        );
    }

    /// Someone uses a slash command.
    pub fn slash(&self, user: &str, data: &Value) {
        let interaction = json!({
            "id": self.number(), "application_id": "100", "type": 2, "data": data, "channel_id": "800", "token": "interaction",
            "version": 1, "user": person(user), "locale": "en-US", "entitlements": [], "app_permissions": "0",
            "authorizing_integration_owners": {}, "attachment_size_limit": 1,
        });
        self.send("INTERACTION_CREATE", &interaction);
    }

    /// From now on nobody is let in.
    pub fn turn_away(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// From now on the token is not known.
    pub fn forget(&self) {
        self.code.store(401, Ordering::SeqCst);
    }

    /// From now on nobody is answered.
    pub fn fail(&self) {
        self.code.store(500, Ordering::SeqCst);
    }

    fn number(&self) -> String {
        self.numbers.fetch_add(1, Ordering::SeqCst).to_string()
    }

    fn send(&self, name: &str, data: &Value) {
        self.dispatch
            .send(json!({ "op": 0, "s": 2, "t": name, "d": data }))
            .unwrap();
    }
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (method, path) = (
        request.method().to_string(),
        request.uri().path().to_owned(),
    );
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let text = body["content"].as_str().unwrap_or_default().to_owned();
    let _ = api.requests.send((method, path.clone(), body.clone()));
    if path.ends_with("/gateway") {
        return Json(json!({ "url": format!("ws://{}", api.gateway) })).into_response();
    }
    if path.ends_with("/gateway/bot") {
        let code = StatusCode::from_u16(api.code.load(Ordering::SeqCst)).unwrap();
        if !code.is_success() {
            let refusal = json!({ "message": code.to_string(), "code": 0 });
            return (code, Json(refusal)).into_response();
        }
        let limit =
            json!({ "total": 1_000, "remaining": 999, "reset_after": 0, "max_concurrency": 1 });
        let url = format!("ws://{}", api.gateway);
        return Json(json!({ "url": url, "shards": 1, "session_start_limit": limit }))
            .into_response();
    }
    if path.ends_with("/commands") {
        return Json(json!([])).into_response();
    }
    if path.contains("/messages") || path.contains("/webhooks/") {
        let channel = path
            .split("/channels/")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .unwrap_or("800");
        return Json(message("5000", channel, &text, "100")).into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

/// One connection to the gateway: hello, ready, then whatever happens.
async fn session(
    stream: TcpStream,
    mut events: broadcast::Receiver<Value>,
    presences: mpsc::UnboundedSender<Value>,
    closed: Arc<AtomicBool>,
) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let text = |value: Value| Message::Text(value.to_string());
    socket
        .send(text(
            json!({ "op": 10, "s": null, "t": null, "d": { "heartbeat_interval": 45_000 } }),
        ))
        .await
        .unwrap();
    loop {
        tokio::select! {
            event = events.recv() => {
                let Ok(event) = event else { return };
                if socket.send(text(event)).await.is_err() { return }
            }
            received = socket.next() => {
                let Some(Ok(received)) = received else { return };
                let Ok(payload) = serde_json::from_slice::<Value>(&received.into_data()) else { continue };
                let reply = match payload["op"].as_u64() {
                    Some(2) if closed.load(Ordering::SeqCst) => {
                        let frame = CloseFrame { code: CloseCode::Library(4004), reason: "Authentication failed.".into() };
                        let _ = socket.close(Some(frame)).await;
                        return;
                    }
                    Some(1) => json!({ "op": 11, "s": null, "t": null, "d": null }),
                    Some(2) => json!({ "op": 0, "s": 1, "t": "READY", "d": ready() }),
                    Some(3) => {
                        let _ = presences.send(payload["d"].clone());
                        continue;
                    }
                    _ => continue,
                };
                if socket.send(text(reply)).await.is_err() { return }
            }
        }
    }
}

fn ready() -> Value {
    json!({
        "v": 10, "user": person("100"), "guilds": [], "session_id": "session", "resume_gateway_url": "ws://127.0.0.1:1",
        "shard": [0, 1], "application": { "id": "100", "flags": 0 },
    })
}

fn person(id: &str) -> Value {
    json!({ "id": id, "username": format!("user{id}"), "discriminator": "0000", "avatar": null, "bot": id == "100" })
}

fn message(id: &str, channel: &str, text: &str, user: &str) -> Value {
    json!({
        "id": id, "channel_id": channel, "content": text, "author": person(user), "timestamp": "2026-01-01T00:00:00Z",
        "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [],
        "attachments": [], "embeds": [], "pinned": false, "type": 0,
    })
}
