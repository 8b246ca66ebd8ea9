//! Alerts by webhook, to a server on this machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::{Service, fake_bot, script};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SECRET: &str = "nobody-may-see-this";

/// A server that takes messages, or refuses them.
struct Server {
    address: SocketAddr,
    refuses: Arc<AtomicBool>,
    requests: mpsc::UnboundedReceiver<Request>,
}

struct Request {
    headers: HeaderMap,
    message: Value,
    taken: bool,
}

type Shared = (Arc<AtomicBool>, mpsc::UnboundedSender<Request>);

async fn receive(
    State((refuses, requests)): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let taken = !refuses.load(Ordering::Relaxed);
    let request = Request {
        headers,
        message: serde_json::from_str(&body).unwrap(),
        taken,
    };
    requests.send(request).unwrap_or_default();
    if taken {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

impl Server {
    async fn start() -> Self {
        let refuses = Arc::new(AtomicBool::new(true));
        let (sender, requests) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(receive)
            .with_state((Arc::clone(&refuses), sender));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self {
            address,
            refuses,
            requests,
        }
    }

    async fn next(&mut self) -> Request {
        let next = timeout(Duration::from_secs(60), self.requests.recv());
        next.await.unwrap().unwrap()
    }

    async fn next_taken(&mut self) -> Value {
        loop {
            let request = self.next().await;
            if request.taken {
                return request.message;
            }
        }
    }

    fn bot(&self, data: &Path) -> Service {
        let settings = format!(
            r#"[collect]
            every = "1s"
            [webhook.mine]
            url = "http://{}/{SECRET}"
            headers = {{ Authorization = "Bearer {SECRET}" }}
            body = '{{"what": "{{{{what}}}}", "metric": "{{{{metric}}}}", "processes": "{{{{processes}}}}"}}'
            "#,
            self.address
        );
        std::fs::write(data.join("monitor-bot.toml"), settings).unwrap();
        Service::start(data, |command| {
            command.args(["--no-web", "--log", "debug"]);
        })
    }
}

fn told<'a>(message: &'a Value) -> (&'a str, &'a str) {
    let text = |name: &str| message[name].as_str().unwrap();
    (text("metric"), text("what"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_although_they_were_refused_and_the_bot_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let lines = "rule add \"memory > 1\"\nrule add \"swap > 1\"\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "{out}");
    let mut server = Server::start().await;
    let bot = server.bot(data.path());
    let refused = server.next().await;
    assert_eq!(refused.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(refused.headers["content-type"], "application/json");
    assert_eq!(told(&refused.message), ("memory", "raised"));
    let busy = "postgres (100) 80.0 %";
    let processes = refused.message["processes"].as_str().unwrap();
    assert!(processes.contains(busy), "{processes}");
    let written = bot.written();
    assert!(!written.contains(SECRET), "{written}");
    bot.kill();

    server.refuses.store(false, Ordering::Relaxed);
    let bot = server.bot(data.path());
    assert_eq!(told(&server.next_taken().await), ("memory", "raised"));
    assert_eq!(told(&server.next_taken().await), ("swap", "raised"));
    // A run beside it leaves it to the service to tell.
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), "ack swap\n");
    assert!(ok, "{out}");
    assert_eq!(told(&server.next_taken().await), ("swap", "acknowledged"));
    let written = bot.stop("TERM");
    assert!(!written.contains(SECRET), "{written}");
    assert!(server.requests.try_recv().is_err(), "each once");
}
