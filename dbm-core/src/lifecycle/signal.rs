//! The end of a program that the system or its user asks for.

use std::future::poll_fn;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::close::{close_within, ended, not_from_inside_or_after};
use crate::error::{Error, Result};
use crate::gate::Gate;

/// Closes after a signal. A second signal interrupts the calls at once.
pub(crate) async fn close_on_signal(gate: &Arc<Gate>, limit: Duration) -> Result<()> {
    not_from_inside_or_after(gate, "close_on_signal")?;
    let mut signals = Signals::listen()?;
    if let Some(result) = signals.or(ended(gate, "close_on_signal")).await {
        return result;
    }
    if let Some(result) = signals.or(close_within(gate, limit)).await {
        return result;
    }
    close_within(gate, Duration::ZERO).await
}

struct Signals(Vec<Source>);

#[cfg(unix)]
type Source = tokio::signal::unix::Signal;

#[cfg(unix)]
fn sources() -> std::io::Result<Vec<Source>> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(vec![
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ])
}

#[cfg(windows)]
type Source = tokio::signal::windows::CtrlC;

#[cfg(windows)]
fn sources() -> std::io::Result<Vec<Source>> {
    Ok(vec![tokio::signal::windows::ctrl_c()?])
}

impl Signals {
    fn listen() -> Result<Self> {
        // A runtime without I/O is a panic there.
        let sources = catch_unwind(sources).map_err(|_| Error::Runtime {
            message: "close_on_signal needs a runtime with I/O enabled",
        })?;
        Ok(Self(sources.map_err(Error::other)?))
    }

    /// The result of a future; `None` if a signal comes first.
    async fn or<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => self.poll(context).map(|()| None),
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let came = |source: &mut Source| source.poll_recv(context).is_ready();
        if self.0.iter_mut().any(came) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
