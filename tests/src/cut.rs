//! Dropping a future at a chosen await point.

use std::pin::pin;
use std::task::Poll;

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Right when it begins to wait.
    AtOnce,
    /// When what it waits for has come, before it is told.
    WhenWoken,
}

impl Moment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AtOnce, Self::WhenWoken];
}

/// Polls a future until it waits for the `at`-th time (from 1) and drops it there; `None` then.
///
/// A future that is dropped on its own task, from inside a poll, is dropped while all others stand still on a
/// runtime with one thread.
pub async fn cut<T>(at: usize, moment: Moment, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(Some(future));
    let mut waits = 0;
    std::future::poll_fn(|context| {
        if waits == at {
            future.set(None);
        }
        let Some(running) = future.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(output) = running.poll(context) {
            return Poll::Ready(Some(output));
        }
        waits += 1;
        if waits == at && moment == Moment::AtOnce {
            future.set(None);
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// A future that is polled up to some await point and then left alone, neither polled nor dropped.
#[derive(Debug)]
pub struct Stalled<F: Future> {
    future: F,
    waits: usize,
    output: Option<F::Output>,
}

impl<F: Future + Unpin> Stalled<F> {
    /// Not polled yet.
    pub fn new(future: F) -> Self {
        Self {
            future,
            waits: 0,
            output: None,
        }
    }

    /// Polls it until it waits for the `at`-th time; true when it has come to its end.
    pub async fn run_to(&mut self, at: usize) -> bool {
        // Only polls that somebody asked for count, and the first of a further run only repeats the last one.
        let mut repeated = self.waits > 0;
        std::future::poll_fn(|context| {
            if self.output.is_some() || self.waits >= at {
                return Poll::Ready(self.output.is_some());
            }
            if let Poll::Ready(output) = std::pin::Pin::new(&mut self.future).poll(context) {
                self.output = Some(output);
                return Poll::Ready(true);
            }
            self.waits += usize::from(!std::mem::take(&mut repeated));
            if self.waits >= at {
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }
}

impl<F: Future + Unpin> Stalled<F> {
    /// Goes on to the end.
    pub async fn finish(self) -> F::Output {
        match self.output {
            Some(output) => output,
            None => self.future.await,
        }
    }
}

/// Polls a future once and leaves it at that.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut future = std::pin::Pin::new(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}
