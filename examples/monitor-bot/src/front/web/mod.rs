//! The status page: one page without anything from elsewhere, and what it and other programs read.
//!
//! Everything here reads, so nothing waits for the writer of the database.

mod guard;
mod prometheus;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dbm_core::prelude::*;
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::complain;
use crate::app::App;
use crate::error::{Error, Result};
use crate::span::Span;

/// The page, with its style and its scripts in it.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("page.html").to_owned();
    let parts = [
        (
            r#"<link rel="stylesheet" href="page.css">"#,
            "style",
            include_str!("page.css"),
        ),
        (
            r#"<script src="chart.js"></script>"#,
            "script",
            include_str!("chart.js"),
        ),
        (
            r#"<script src="page.js"></script>"#,
            "script",
            include_str!("page.js"),
        ),
    ];
    parts.into_iter().fold(page, |page, (link, tag, text)| {
        page.replace(link, &format!("<{tag}>\n{text}</{tag}>"))
    })
});

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
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| refused!("The status page cannot be at {address}: {error}."))?;
        if address.ip().is_unspecified() {
            complain(format!(
                "The status page at {address} is open to every machine that reaches this one, and has no password."
            ));
        }
        Ok(Self { listener })
    }

    /// Where the page is: the port may have been chosen by the system.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until the database is closed.
    pub async fn run(self, app: Arc<App>) {
        let mut stages = app.store.watch_status();
        let router = Router::new()
            .route("/", get(page))
            .route("/api/status", get(status))
            .route("/api/history", get(history))
            .route("/api/events", get(events))
            .route("/healthz", get(health))
            .route("/metrics", get(metrics))
            .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
            .with_state(app);
        let end = async move {
            // Until the database is closed there is still something to tell: that it takes no calls.
            let _ = stages
                .wait_for(|status| matches!(status, Status::Stopped | Status::Failed))
                .await;
        };
        guard::serve(self.listener, router, end).await;
    }
}

async fn page() -> Html<&'static str> {
    Html(PAGE.as_str())
}

async fn status(State(app): State<Arc<App>>) -> Json<view::Status> {
    Json(view::status(&app).await)
}

/// The course of one or several metrics, and what happened in the meantime.
async fn history(
    State(app): State<Arc<App>>,
    asked: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<view::History>, Failure> {
    /// Each is a query of its own.
    const MOST: usize = 50;
    let (mut metrics, mut span) = (Vec::new(), Span::hours(1));
    // What is not understood at all asks for nothing.
    for (name, value) in asked.map(|Query(pairs)| pairs).unwrap_or_default() {
        match name.as_str() {
            "metric" => metrics.push(value.parse()?),
            "span" => span = value.parse()?,
            _ => {}
        }
    }
    if !(1..=MOST).contains(&metrics.len()) {
        return Err(Failure::Asked(refused!(
            "Ask for /api/history?span=1h&metric=cpu&metric=memory, or for up to {MOST} others."
        )));
    }
    Ok(Json(view::history(&app, &metrics, span).await?))
}

/// The status again with every reading and every change of an alert, until the page is closed or the bot stops.
async fn events(
    State(app): State<Arc<App>>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let seat = LIVE.try_acquire().map_err(|_| Failure::Busy)?;
    let reader = Arc::clone(&app);
    let stored = app.store.live(move |_| {
        let app = Arc::clone(&reader);
        async move { view::status(&app).await }
    });
    let stored = stored.other_processes(Duration::from_secs(1));
    let sources = (app.outages(), stored, app, seat);
    let statuses = stream::unfold(sources, async |(mut outages, mut stored, app, seat)| {
        let status = tokio::select! {
            status = stored.next() => status?,
            Ok(()) = outages.changed() => view::status(&app).await,
        };
        let event = Event::default().json_data(status);
        Some((event, (outages, stored, app, seat)))
    });
    Ok(Sse::new(statuses).keep_alive(KeepAlive::default()))
}

/// 200 only while the database takes calls and readings are stored.
async fn health(State(app): State<Arc<App>>) -> Response {
    let status = app.store.status();
    let last = match app.stored_at() {
        0 => "no reading was stored yet".to_owned(),
        at => format!("the last reading was stored {} s ago", app.clock.now() - at),
    };
    let code = match app.is_well() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{status:?}; {last}\n")).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], prometheus::text(&app).await)
}

/// Why a request failed.
#[derive(Debug)]
enum Failure {
    Asked(Error),
    Busy,
    Misdirected(String),
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
            Self::Asked(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many pages are open.".to_owned(),
            ),
            Self::Misdirected(name) => (
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "This page does not know itself as “{name}”. Add the name to web.names in the configuration."
                ),
            ),
        };
        (code, Json(json!({ "error": message }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use dbm_core::testing::{Fault, fail_next};
    use futures_util::StreamExt;
    use tokio::time::timeout;

    use super::*;

    async fn body(response: impl IntoResponse) -> String {
        let body = response.into_response().into_body();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn ask_history(app: &Arc<App>) -> Response {
        let asked = vec![("metric".to_owned(), "cpu".to_owned())];
        history(State(Arc::clone(app)), Ok(Query(asked)))
            .await
            .into_response()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_healthy_only_while_readings_are_stored() {
        let app = App::fake().await;
        app.clock.advance(Span::seconds(16));
        fail_next(&app.store, "record", dbm_core::Error::other("full"));
        app.sample().await.unwrap_err();
        assert_eq!(
            health(State(Arc::clone(&app))).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        app.sample().await.unwrap();
        assert_eq!(
            health(State(Arc::clone(&app))).await.status(),
            StatusCode::OK
        );
        app.store.close().await.unwrap();
        assert_eq!(
            health(State(Arc::clone(&app))).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(
            ask_history(&app).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_page_learns_of_an_alert_that_cannot_be_stored() {
        let app = App::fake().await;
        let page = events(State(Arc::clone(&app))).await.unwrap();
        let mut statuses = page.into_response().into_body().into_data_stream();
        statuses.next().await.unwrap().unwrap();
        app.hold("memory".parse().unwrap(), Some(97.0));
        fail_next(&app.store, "record", dbm_core::Error::other("full"));
        app.sample().await.unwrap_err();
        let told = async {
            while let Some(Ok(status)) = statuses.next().await {
                if String::from_utf8_lossy(&status).contains("Memory is at 97.0 %") {
                    return;
                }
            }
            panic!("the page ended");
        };
        timeout(Duration::from_secs(60), told).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_that_takes_too_long_is_given_up() {
        let app = App::fake().await;
        fail_next(&app.store, "history", Fault::Hang);
        let failed = ask_history(&app).await;
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body(failed).await,
            r#"{"error":"The database failed: history: timed out after 10s"}"#
        );
        assert_eq!(ask_history(&app).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn alerts_that_are_not_known_are_not_said_to_be_none() {
        let app = App::fake().await;
        let failing = || fail_next(&app.store, "open_alerts", dbm_core::Error::other("no luck"));
        failing();
        let shown = body(status(State(Arc::clone(&app))).await).await;
        assert!(shown.contains("The database failed: no luck"));
        failing();
        let text = body(metrics(State(Arc::clone(&app))).await).await;
        assert!(text.contains("monitor_cpu_usage_ratio ") && !text.contains("monitor_open_alerts"));
        let text = body(metrics(State(app)).await).await;
        assert!(text.contains("monitor_open_alerts 0"));
    }
}
