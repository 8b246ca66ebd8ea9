//! How a call gets the writer: at once, by waiting for a short body in its thread, or through the queue.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::contention::Spin;
use super::policy::POLICY;
use super::scheduler::{Again, Arrival, Arrived, CallId, Caller};
use super::shell::{QueuedCall, Writer, WriterPermit, is_exclusive};
use crate::engine::session::{HasSession, SharedSession};
use crate::engine::share_policy::SharePolicy;
use crate::error::{Error, Result};
use crate::waking::contained;

/// A call that wants the writer. Without `share_policy` it runs in a transaction of its own.
struct Request<'a, S> {
    session: &'a Arc<S>,
    share_policy: Option<&'static SharePolicy>,
    may_autocommit: bool,
    again: Option<Again>,
}

enum Acquired<'a> {
    AtOnce(WriterPermit<'a>),
    Queued(PlaceInQueue<'a>),
}

/// A place in the queue. Dropping it leaves the queue.
struct PlaceInQueue<'a> {
    writer: &'a Writer,
    arrival: Arrival,
    grant: oneshot::Receiver<Result<WriterPermit<'static>>>,
}

impl Writer {
    /// Waits for the writer, first come first served. Dropping the future leaves the queue undisturbed.
    pub(crate) async fn acquire<'a>(
        self: &'a Arc<Self>,
        session: &Arc<impl HasSession>,
        share_policy: Option<&'static SharePolicy>,
        may_autocommit: bool,
    ) -> Result<WriterPermit<'a>> {
        let request = Request {
            session,
            share_policy,
            may_autocommit,
            again: None,
        };
        match self.arrive(&request)? {
            Acquired::AtOnce(permit) => Ok(permit),
            // Boxed, like everything that is seldom awaited: it keeps a call that need not wait small.
            Acquired::Queued(place) => Box::pin(self.wait_in_queue(request, place)).await,
        }
    }

    async fn wait_in_queue<'a>(
        self: &'a Arc<Self>,
        mut request: Request<'_, impl HasSession>,
        mut place: PlaceInQueue<'a>,
    ) -> Result<WriterPermit<'a>> {
        let (since, mut claim_within) = (Instant::now(), POLICY.claim_within);
        let method = request.method();
        loop {
            let granted = self.watched(&mut place.grant).await;
            let mut permit = granted.unwrap_or(Err(Error::Closed { method }))?;
            if self.claim(&request, &mut permit) {
                return Ok(permit);
            }
            claim_within = (2 * claim_within).min(POLICY.claim_within_at_most);
            request.again = Some(Again {
                arrival: place.arrival,
                since,
                claim_within,
            });
            // Both are dropped before the call arrives again, with the same id and the same place in the order of
            // arrival.
            drop((permit, place));
            place = match self.arrive(&request)? {
                Acquired::AtOnce(permit) => return Ok(permit),
                Acquired::Queued(place) => place,
            };
        }
    }

    fn arrive<'a>(
        self: &'a Arc<Self>,
        request: &Request<'_, impl HasSession>,
    ) -> Result<Acquired<'a>> {
        let (id, method) = (request.id(), request.method());
        let exclusive = is_exclusive(request.share_policy);
        let mut spin = Spin::default();
        let (mut grant, mut autocommits) = (None, false);
        let arrived = loop {
            let spins = spin.wait(&self.contention);
            let arrived = self.note(|scheduler| {
                if spins && scheduler.has_lone_holder() {
                    return None;
                }
                let queued = || {
                    let (sender, receiver) = oneshot::channel();
                    grant = Some(receiver);
                    QueuedCall {
                        id,
                        method,
                        share_policy: request.share_policy,
                        grant: sender,
                    }
                };
                let arrived = scheduler.arrive(request.caller(exclusive), Instant::now, queued);
                if matches!(arrived, Arrived::Runs { .. }) {
                    autocommits = scheduler.autocommits();
                    if !exclusive {
                        self.contention.runs_here();
                    }
                }
                Some(arrived)
            });
            if let Some(arrived) = arrived {
                break arrived;
            }
        };
        match (arrived, grant) {
            (Arrived::Runs { joins }, _) => {
                let mut permit = WriterPermit::new(self, id, joins, exclusive);
                permit.autocommits = autocommits;
                Ok(Acquired::AtOnce(permit))
            }
            (Arrived::Queued(arrival), Some(grant)) => Ok(Acquired::Queued(PlaceInQueue {
                writer: self,
                arrival,
                grant,
            })),
            (Arrived::Overloaded { queued }, _) => {
                self.opener.counts.overloaded.add(1);
                Err(Error::Overloaded { method, queued })
            }
            (Arrived::Closed | Arrived::Queued(_), _) => Err(Error::Closed { method }),
        }
    }

    /// Whether the caller still has the writer that it was granted.
    fn claim(&self, request: &Request<'_, impl HasSession>, permit: &mut WriterPermit<'_>) -> bool {
        let caller = request.caller(is_exclusive(request.share_policy));
        self.note(|scheduler| {
            let Some(joins) = scheduler.claim(caller, Instant::now()) else {
                return false;
            };
            (permit.joins, permit.autocommits) = (joins, scheduler.autocommits());
            if !permit.exclusive {
                self.contention.runs_here();
            }
            true
        })
    }
}

impl<S: HasSession> Request<'_, S> {
    fn id(&self) -> CallId {
        self.session.session().id
    }

    fn method(&self) -> &'static str {
        self.session.session().method
    }

    fn caller(&self, exclusive: bool) -> Caller<SharedSession> {
        Caller {
            id: self.id(),
            method: self.method(),
            exclusive,
            may_autocommit: self.may_autocommit,
            session: Arc::clone(self.session) as SharedSession,
            again: self.again,
        }
    }
}

impl Drop for PlaceInQueue<'_> {
    fn drop(&mut self) {
        let left = self.writer.note(|scheduler| scheduler.leave(self.arrival));
        // Outside of the lock, because its sender wakes the task that waits here.
        contained(|| drop(left));
    }
}
