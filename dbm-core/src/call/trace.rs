//! What is logged about a call: names and times, never an argument, a row or a result.

use std::fmt::Display;
use std::time::{Duration, Instant};

use tracing::{Level, Span, debug, debug_span, error, event_enabled, field, trace, warn};

use super::site::Site;
use crate::engine::Access;
use crate::error::Error;
use crate::manager_core::ManagerCore;

/// The span of one call. Names follow OpenTelemetry's conventions for database clients.
pub(crate) fn span(site: &Site, access: Access, core: &ManagerCore) -> Span {
    debug_span!(
        "dbm.call",
        otel.name = site.method,
        otel.kind = "client",
        db.system.name = core.system(),
        db.namespace = core.database(),
        db.operation.name = match access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Connection => "connection",
        },
        db.query.summary = site.method,
        code.namespace = site.module,
        error.type = field::Empty,
        db.response.status_code = field::Empty,
    )
}

/// Records an error of the library in the current span.
pub(crate) fn failed(error: &Error) {
    let span = Span::current();
    if span.is_none() {
        return;
    }
    span.record("error.type", error.kind());
    if let Some(code) = error.sqlite_code() {
        span.record("db.response.status_code", code);
    }
    #[cfg(feature = "remote")]
    if let Some(state) = error.server_state() {
        span.record("db.response.status_code", state);
    }
}

/// Records in the current span that the body has failed, with the error of its last statement if that failed.
pub(crate) fn body_failed(statement: Option<&Error>) {
    match statement {
        Some(error) => failed(error),
        None => {
            Span::current().record("error.type", "_OTHER");
        }
    }
}

pub(crate) fn leased(site: &Site, waited: Duration) {
    trace!(
        method = site.method,
        waited_ms = ms(waited),
        "lock acquired"
    );
}

pub(crate) fn returned(site: &Site, ok: bool) {
    debug!(method = site.method, ok, "call returned");
}

/// Logs a failure whose caller gets a substitute instead.
pub(crate) fn swallowed(site: &Site, cause: &dyn Display) {
    error!(method = site.method, cause = %cause, "call failed, returning its fail value");
}

/// `#[timed]`: logs how long a call ran, and separately how long it waited for its lock.
pub(crate) fn timing(site: &Site, waited: Option<Duration>, ran: Duration) {
    if let Some(slow) = site.slow.filter(|slow| ran >= *slow) {
        warn!(
            method = site.method,
            elapsed_ms = ms(ran),
            slow_ms = ms(slow),
            "slow call"
        );
    }
    match waited {
        Some(waited) => {
            trace!(
                method = site.method,
                elapsed_ms = ms(ran),
                waited_ms = ms(waited),
                "call finished"
            );
        }
        None => trace!(method = site.method, elapsed_ms = ms(ran), "call finished"),
    }
}

/// `#[timed]` on a method without `#[database_safe]`.
pub async fn timed<F: Future>(site: &'static Site, body: F) -> F::Output {
    let started = Instant::now();
    let output = body.await;
    debug!(method = site.method, "returned");
    timing(site, None, started.elapsed());
    output
}

/// Rounded to the microsecond, so that a log shows no more digits than were measured.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Whether the times are logged at all. If not, the clock is not read.
pub(crate) fn wants_times(site: &Site) -> bool {
    site.timed || event_enabled!(Level::TRACE)
}
