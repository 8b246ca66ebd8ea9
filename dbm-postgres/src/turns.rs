//! Whose turn it is to write, in this process: first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbm_core::remote::Limits;
use dbm_core::{Error, Result};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::batch::{Batch, Handed};

pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Who has the turn, and since when.
    holder: Option<(&'static str, Instant)>,
    queue: VecDeque<Waiting>,
}

struct Waiting {
    method: &'static str,
    joins: bool,
    place: oneshot::Sender<Place>,
}

/// What a call gets that has waited.
pub(crate) enum Place {
    /// The turn.
    Turn(Turn),
    /// The turn, and the open transaction of others to join.
    Batch(Handed),
}

/// The turn. Dropped, it goes to the next one.
pub(crate) struct Turn(Arc<Turns>);

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn. `joins` says whether the call may become part of an open transaction.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        method: &'static str,
        joins: bool,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Place> {
        let began = Instant::now();
        let waiting = {
            let mut state = self.state();
            if state.holder.is_none() {
                state.holder = Some((method, began));
                return Ok(Place::Turn(Turn(Arc::clone(self))));
            }
            state.forget_gone();
            let queued = state.queue.len();
            if limits.max_queue.is_some_and(|most| queued >= most) {
                return Err(Error::Overloaded { method, queued });
            }
            let (place, waiting) = oneshot::channel();
            state.queue.push_back(Waiting {
                method,
                joins,
                place,
            });
            waiting
        };
        match timeout_at(deadline, waiting).await {
            Ok(Ok(place)) => Ok(place),
            // A place that came at the last moment goes on to the next one with the receiver.
            Ok(Err(_)) | Err(_) => Err(self.too_late(method, began)),
        }
    }

    fn too_late(&self, method: &'static str, began: Instant) -> Error {
        let mut state = self.state();
        state.forget_gone();
        let (holder, since) = state.holder.unwrap_or(("nobody", began));
        Error::AcquireTimeout {
            method,
            waited: began.elapsed(),
            holder,
            held: since.elapsed(),
            queued: state.queue.len(),
        }
    }
}

impl State {
    fn forget_gone(&mut self) {
        self.queue.retain(|waiting| !waiting.place.is_closed());
    }

    /// Gives the turn to the first that still waits, if it is `wanted`.
    fn next(&mut self, wanted: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        self.forget_gone();
        let next = self.queue.pop_front_if(|waiting| wanted(waiting))?;
        self.holder = Some((next.method, Instant::now()));
        Some(next)
    }
}

impl Turn {
    /// Hands an open transaction to the call that is next, if that may join. Without one, the transaction comes back.
    pub(crate) fn hand_over(mut batch: Box<Batch>) -> Option<Box<Batch>> {
        loop {
            let turns = batch.turn.as_ref().map(|turn| Arc::clone(&turn.0));
            let next = turns.and_then(|turns| turns.state().next(|waiting| waiting.joins));
            let Some(next) = next else {
                return Some(batch);
            };
            match next.place.send(Place::Batch(Handed::new(batch))) {
                Err(Place::Batch(handed)) => batch = handed.take()?,
                Ok(()) | Err(Place::Turn(_)) => return None,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.next(|_| true);
            if next.is_none() {
                state.holder = None;
            }
            next
        };
        if let Some(next) = next {
            // If whoever it was has just gone, the turn comes back and passes itself on.
            let _ = next.place.send(Place::Turn(Turn(Arc::clone(&self.0))));
        }
    }
}
