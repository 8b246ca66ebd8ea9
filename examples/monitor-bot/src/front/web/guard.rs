//! What keeps the page from being misused: who may ask, how many at a time, and how slowly.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::Failure;
use crate::app::App;

/// How many connections are open at a time. Others wait.
const CONNECTIONS: usize = 256;

/// How long a client may take to ask for something, also after the last answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The page asks for nothing from elsewhere, nobody else shows it, and a browser is told to hold it to that.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Answers until `end`, and then what was asked before.
pub(super) async fn serve(listener: TcpListener, router: Router, end: impl Future<Output = ()>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connections = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        let next = async {
            let seat = Arc::clone(&seats).acquire_owned().await;
            (listener.accept().await, seat)
        };
        let (accepted, seat) = tokio::select! {
            next = next => next,
            () = &mut end => break,
        };
        let Ok((stream, _)) = accepted else {
            // There may be no file descriptor left: a moment later there may be one.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _taken = seat;
            // A client that is gone or slow has no answer to wait for.
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Refuses what was asked under a foreign name, and adds the headers to every answer.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // A page from elsewhere can have its own name lead here; then the browser lets it read what it gets.
    let named = request.headers().get(header::HOST);
    let mut response = match named.map(|name| name.to_str().unwrap_or_default()) {
        Some(name) if !is_ours(name, &app.settings.web.names) => {
            Failure::Misdirected(name.to_owned()).into_response()
        }
        // A browser always gives a name.
        _ => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether nobody else can have this name lead here.
fn is_ours(host: &str, names: &[String]) -> bool {
    let Ok(host) = host.parse::<Authority>() else {
        return false;
    };
    let host = host.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_lead_here_for_sure_are_ours() {
        let names = ["monitor.example.org".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:7575",
            "127.0.0.1:7575",
            "10.0.0.7",
            "[::1]:80",
            "Monitor.example.org",
        ] {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "monitor.example.org.evil",
            "a b",
        ] {
            assert!(!is_ours(host, &names), "{host}");
        }
    }
}
