//! What the program holds of a live read.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::registry::{LiveReads, Next, Subscription};
use super::{Collector, READS};
use crate::timer::{Sleep, sleep};

type Reading<R> = Pin<Box<dyn Future<Output = R> + Send>>;
type Repeats<R> = Box<dyn FnMut(&R) -> bool + Send>;

/// A read that is made again after each commit that may have changed its result. See
/// [`DbManager::live`](crate::DbManager::live).
///
/// Between two values it holds no connection, and does not keep the manager alive. Dropping it ends it.
#[must_use = "a live read does nothing until its values are asked for"]
pub struct Live<R> {
    manager: u64,
    live: Arc<LiveReads>,
    /// `None` once the manager is gone.
    read: Box<dyn FnMut() -> Option<Reading<R>> + Send>,
    /// Whether a value equals the one before it; keeps the value for the next time.
    repeats: Option<Repeats<R>>,
    /// How often to look for commits of other processes, and how.
    look_every: Option<Duration>,
    look: Box<dyn Fn() + Send>,
    pause: Duration,
    newest: Option<Instant>,
    phase: Phase<R>,
}

enum Phase<R> {
    New,
    Pausing(Subscription, Sleep),
    Reading {
        place: Subscription,
        began_at: u64,
        collector: Arc<Collector>,
        reading: Reading<R>,
    },
    /// With the time until the next look at what other processes have committed.
    Waiting(Subscription, Option<Sleep>),
    Ended,
}

impl<R: 'static> Live<R> {
    pub(crate) fn new(
        manager: u64,
        live: Arc<LiveReads>,
        read: impl FnMut() -> Option<Reading<R>> + Send + 'static,
        look: impl Fn() + Send + 'static,
    ) -> Self {
        Self {
            manager,
            live,
            read: Box::new(read),
            repeats: None,
            look_every: None,
            look: Box::new(look),
            pause: Duration::ZERO,
            newest: None,
            phase: Phase::New,
        }
    }

    /// Waits at least this long after a value before it reads the next one. What is committed meanwhile is in that one.
    pub fn at_most_every(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Looks this often whether another process has committed, and reads again if one has. A look is one short statement on
    /// the writer's connection, and keeps that connection open.
    pub fn other_processes(mut self, every: Duration) -> Self {
        self.look_every = Some(every);
        self
    }

    /// The next value; `None` when the manager is closed, has failed, or is gone. The first one comes at once.
    ///
    /// # Panics
    ///
    /// If the closure does.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses nothing: the next call goes on.
    pub async fn next(&mut self) -> Option<R> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), for an implementation of `Stream`: `futures_util::stream::poll_fn(move |context|
    /// live.poll_next(context))`.
    ///
    /// # Panics
    ///
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<R>> {
        loop {
            // It has ended, unless one of the arms says otherwise: also if the closure panics.
            self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::New => {
                    let place = self.live.subscribe();
                    self.read(place)
                }
                Phase::Pausing(place, mut pause) => {
                    if Pin::new(&mut pause).poll(context).is_pending() {
                        if place.next() == Next::End {
                            continue;
                        }
                        self.phase = Phase::Pausing(place, pause);
                        return Poll::Pending;
                    }
                    self.read(place)
                }
                Phase::Reading {
                    place,
                    began_at,
                    collector,
                    mut reading,
                } => match reading.as_mut().poll(context) {
                    Poll::Pending => {
                        self.phase = Phase::Reading {
                            place,
                            began_at,
                            collector,
                            reading,
                        };
                        return Poll::Pending;
                    }
                    Poll::Ready(value) => {
                        // First, because it may hold the last handle on the manager.
                        drop(reading);
                        let is_first = self.newest.replace(Instant::now()).is_none();
                        place.settle(began_at, collector.take());
                        let ended = place.next() == Next::End;
                        if ended && !is_first {
                            continue;
                        }
                        self.phase = Phase::Waiting(place, self.until_look());
                        if self.repeats.as_mut().is_some_and(|repeats| repeats(&value)) {
                            continue;
                        }
                        return Poll::Ready(Some(value));
                    }
                },
                Phase::Waiting(place, mut until_look) => match place.next() {
                    Next::End => continue,
                    Next::Read => self.again(place),
                    Next::Wait => {
                        if let Some(sleep) = &mut until_look
                            && Pin::new(sleep).poll(context).is_ready()
                        {
                            (self.look)();
                            self.phase = Phase::Waiting(place, self.until_look());
                            continue;
                        }
                        let told = pin!(place.told()).poll(context);
                        self.phase = Phase::Waiting(place, until_look);
                        ready!(told);
                        continue;
                    }
                },
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }

    fn until_look(&self) -> Option<Sleep> {
        self.look_every.map(sleep)
    }

    /// Reads now, or once the pause is over.
    fn again(&mut self, place: Subscription) -> Phase<R> {
        let since = self.newest.map_or(self.pause, |newest| newest.elapsed());
        match self.pause.checked_sub(since) {
            Some(rest) if !rest.is_zero() => Phase::Pausing(place, sleep(rest)),
            _ => self.read(place),
        }
    }

    fn read(&mut self, place: Subscription) -> Phase<R> {
        let Some(reading) = (self.read)() else {
            return Phase::Ended;
        };
        let collector = Arc::<Collector>::default();
        let scope = (self.manager, Arc::clone(&collector));
        Phase::Reading {
            began_at: place.begin(),
            place,
            collector,
            reading: Box::pin(READS.scope(scope, reading)),
        }
    }
}

impl<T: PartialEq + Clone + Send + 'static, E: 'static> Live<Result<T, E>> {
    /// Leaves out a value that equals the one before it. An error is never left out.
    pub fn distinct(mut self) -> Self {
        let mut last: Option<T> = None;
        self.repeats = Some(Box::new(move |result| {
            let value = result.as_ref().ok();
            let repeats = value.is_some() && last.as_ref() == value;
            if !repeats {
                last = value.cloned();
            }
            repeats
        }));
        self
    }
}

impl<R> fmt::Debug for Live<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
