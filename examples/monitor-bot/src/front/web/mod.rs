//! The status page: one page without anything from elsewhere, and what it and other programs read.
//!
//! Everything here reads, so nothing waits for the writer of the database.

mod prometheus;
mod view;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dbm_core::prelude::*;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Ending, FrontEnd};
use crate::app::App;
use crate::error::{Error, Result};

/// The page asks for nothing from elsewhere, and a browser is told to hold it to that.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How many pages are kept up to date at a time.
static LIVE: Semaphore = Semaphore::const_new(100);

/// A web server that has its address already.
#[derive(Debug)]
pub struct Web {
    listener: TcpListener,
}

impl Web {
    /// Takes the address.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::refused(format!("The status page cannot be at {address}: {error}."))
        })?;
        Ok(Self { listener })
    }

    /// Where the page is: the port may have been chosen by the system.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

impl FrontEnd for Web {
    async fn run(self, app: Arc<App>) -> Ending {
        let mut stages = app.store.watch_status();
        let router = Router::new()
            .route("/", get(page))
            .route("/api/status", get(status))
            .route("/api/history", get(history))
            .route("/api/events", get(events))
            .route("/healthz", get(health))
            .route("/metrics", get(metrics))
            .with_state(app);
        let server = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            // Until the database is closed there is still something to tell: that it takes no calls.
            let _ = stages
                .wait_for(|status| matches!(status, Status::Stopped | Status::Failed))
                .await;
        });
        match server.await {
            Ok(()) => Ending::Done,
            Err(error) => {
                tracing::error!(%error, "the status page ended");
                Ending::Failed
            }
        }
    }
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(include_str!("page.html")))
}

async fn status(State(app): State<Arc<App>>) -> Json<view::Status> {
    Json(view::status(&app).await)
}

#[derive(Deserialize)]
struct Asked {
    metric: String,
    #[serde(default = "Asked::usual_span")]
    span: String,
}

impl Asked {
    fn usual_span() -> String {
        "1h".to_owned()
    }
}

async fn history(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
) -> Result<Json<view::History>, Failure> {
    let history = view::history(&app, &asked.metric.parse()?, asked.span.parse()?).await?;
    Ok(Json(history))
}

/// The status again with every reading, until the page is closed or the bot stops.
async fn events(
    State(app): State<Arc<App>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let seat = LIVE.try_acquire().map_err(|_| Failure::Busy)?;
    let mut readings = app.readings();
    // The page need not wait for the next one.
    readings.mark_changed();
    let stream = stream::unfold((app, readings, seat), async |(app, mut readings, seat)| {
        tokio::select! {
            changed = readings.changed() => changed.ok()?,
            () = app.stopping() => return None,
        }
        let event = Event::default()
            .json_data(view::status(&app).await)
            .unwrap_or_default();
        Some((Ok(event), (app, readings, seat)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// 200 only while the database takes calls.
async fn health(State(app): State<Arc<App>>) -> Response {
    let status = app.store.status();
    let code = if status == Status::Running {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{status:?}\n")).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (alerts, _) = app.store.open_alerts().await;
    let text = prometheus::text(&app.reading(), alerts.len(), app.stored());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

/// Why a request failed.
#[derive(Debug)]
enum Failure {
    Asked(Error),
    Busy,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Asked(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::Asked(error @ Error::Refused(_)) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::Asked(error @ Error::Database(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many pages are open.".to_owned(),
            ),
        };
        (code, Json(json!({ "error": message }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::sampler::Sampler;
    use crate::settings::Settings;
    use crate::store::Store;

    #[tokio::test]
    async fn it_is_healthy_only_while_the_database_takes_calls() {
        let store = Store::open(Config::in_memory(), Settings::default().keep);
        let clock = Clock::virtual_after(None);
        let app = App::start(store, Sampler::fake(1), clock, Settings::default(), None)
            .await
            .unwrap();
        assert_eq!(
            health(State(Arc::clone(&app))).await.status(),
            StatusCode::OK
        );
        app.store.close().await.unwrap();
        assert_eq!(
            health(State(Arc::clone(&app))).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        let asked = Asked {
            metric: "cpu".to_owned(),
            span: "1h".to_owned(),
        };
        let refused = history(State(app), Query(asked))
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            refused.into_response().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
