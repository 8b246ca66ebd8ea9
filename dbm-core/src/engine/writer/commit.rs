//! The transaction that waiting calls share, and its commit. Nobody is told that its work is done before the COMMIT that
//! contains it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Writer;
use super::company::Leader;
use super::ending::{Ending, Members};
use super::pace::Place;
use super::queue::Turn;
use crate::config::Execution;
use crate::engine::connection::OwnerId;
use crate::engine::db::{CONTROL, Db};
use crate::engine::session::Session;
use crate::engine::wal;
use crate::error::{Error, Result};

/// A shared transaction is committed when it has this many members…
const MAX_MEMBERS: u32 = 256;

/// …or is this old.
pub(super) const MAX_AGE: Duration = Duration::from_millis(2);

/// The open transaction and those who wait for its commit.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) since: Option<Instant>,
    count: u32,
    pub(super) members: Members,
    /// The member that will commit it when the company it waits for has come, or takes too long.
    pub(super) leader: Option<OwnerId>,
    /// How many the last one had: company is likely to come back.
    last: u32,
}

/// The end of a transaction; dropped, it tells the members.
pub(super) struct Done {
    members: Members,
    result: Result<()>,
}

/// How a call that is done comes to its commit.
enum End {
    Commit(Members),
    Lead(Arc<Ending>),
    Wait(Arc<Ending>),
}

impl Writer {
    /// Makes the work of the holder part of the open transaction.
    pub(crate) fn include(&self) {
        let mut state = self.lock();
        state.batch.count += 1;
        state.batch.since.get_or_insert_with(Instant::now);
    }

    /// Ends a call whose work is part of the open transaction (or was taken back out of it), and waits until that
    /// transaction is committed.
    pub(crate) async fn finish(self: &Arc<Self>, turn: Turn, session: &Session) -> Result<()> {
        match self.try_finish(turn, session).await {
            // The connection was closed before the commit: nothing of the transaction is there.
            Err(Error::HandleEnded) if self.lock().closed => Err(Error::Closed {
                method: session.method,
            }),
            result => result,
        }
    }

    async fn try_finish(self: &Arc<Self>, mut turn: Turn, session: &Session) -> Result<()> {
        let id = turn.id;
        let end = {
            let mut state = self.lock();
            if !state.is_held_by(id) {
                // The others went on without it; what it did was committed all the same.
                End::Wait(session.take_late_answer().ok_or(Error::HandleEnded)?)
            } else if !state.batch.is_open() {
                // The transaction was lost: nobody will commit it.
                return Err(Error::HandleEnded);
            } else if state.may_wait_for_company(turn.solo) {
                let leads = state.batch.leader.is_none();
                state.batch.leader.get_or_insert(id);
                let ending = state.batch.members.join();
                state.holder = None;
                turn.armed = false;
                self.contention.pauses();
                if leads {
                    End::Lead(ending)
                } else {
                    End::Wait(ending)
                }
            } else if state.must_commit(turn.solo) {
                state.hold_on();
                self.contention.is_over();
                End::Commit(state.batch.take_members())
            } else {
                End::Wait(state.batch.members.join())
            }
        };
        match end {
            End::Commit(members) => self.commit(turn, members).await,
            End::Lead(ending) => {
                let leader = Leader { writer: self, id };
                match leader.wait_for_company(session.method).await {
                    Some((turn, members)) => {
                        let _ = self.conn.lock().give_to(turn.id);
                        self.commit(turn, members).await
                    }
                    None => {
                        ending.expect(self.pace.typical()).await;
                        ending.wait(self).await
                    }
                }
            }
            End::Wait(ending) => {
                turn.release();
                ending.wait(self).await
            }
        }
    }

    /// Commits the open transaction where that is best, then passes the turn on.
    async fn commit(self: &Arc<Self>, mut turn: Turn, members: Members) -> Result<()> {
        let here = self.commits_here() && !self.conn.has_pending();
        if here || !self.conn.has_lane() {
            let done = self.commit_now(turn.id, members, Place::Here);
            let result = done.result.clone();
            turn.release();
            drop(done);
            return result;
        }
        Box::pin(self.commit_on_lane(turn, members)).await
    }

    async fn commit_on_lane(self: &Arc<Self>, mut turn: Turn, members: Members) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        turn.armed = false;
        let (id, solo) = (turn.id, turn.solo);
        let (committing, telling) = (Arc::clone(self), Arc::clone(self));
        let commit = move || {
            let turn = Turn::new(&committing, id, false, solo);
            (committing.commit_now(id, members, Place::OnThread), turn)
        };
        self.conn.post(commit, move |(done, turn)| {
            let result = done.result.clone();
            let alone = done.members.are_none();
            // Answered from the caller's task if it is still there: waking everybody from this thread costs a third.
            if !sender.is_closed() {
                telling.lock().done.push(done);
            }
            drop(turn);
            // That task may be kept from running.
            let watched = alone || telling.is_watched();
            if sender.send(result).is_err() || !watched {
                telling.answer();
            }
        })?;
        let result = receiver.await;
        self.answer();
        result.unwrap_or(Err(Error::HandleEnded))
    }

    /// Tells those whose transaction has ended.
    pub(super) fn answer(&self) {
        let done = std::mem::take(&mut self.lock().done);
        drop(done);
    }

    fn commits_here(&self) -> bool {
        match self.opener.config.execution {
            Execution::Inline => true,
            Execution::Offload => false,
            Execution::Auto => self.pace.next() == Place::Here,
        }
    }

    pub(super) fn commit_now(&self, id: OwnerId, members: Members, place: Place) -> Done {
        let started = Instant::now();
        let mut slot = self.conn.lock();
        let result = match slot.owned_by(id) {
            Ok(db) => self.try_commit(db),
            Err(error) => {
                let result = Err(error);
                return Done { members, result };
            }
        };
        if result.is_err() && slot.db().is_some_and(|db| !db.roll_back()) {
            slot.discard();
        }
        slot.take_back();
        drop(slot);
        self.pace.record(started.elapsed(), place);
        if result.is_ok() {
            let pages = wal::wal_pages();
            if self.checkpointer.after_commit(pages) {
                self.lock().start_over = true;
            }
        }
        Done { members, result }
    }

    fn try_commit(&self, db: &Db) -> Result<()> {
        self.opener.check_identity()?;
        db.control(&CONTROL.commit)
            .map_err(|error| match error.primary_code() {
                Some(rusqlite::ErrorCode::SystemIoFailure) => Error::CommitUnknown {
                    cause: error.cause(),
                },
                _ => error,
            })
    }

    /// The transaction is gone: nobody in it has written anything.
    pub(crate) fn batch_lost(&self, by: &'static str) {
        let mut members = self.lock().batch.take_members();
        members.tell(Err(Error::BatchLost { by }));
    }
}

impl Batch {
    pub(super) fn is_open(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn has_room(&self) -> bool {
        self.count < MAX_MEMBERS
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        let is_old = |since| now.saturating_duration_since(since) >= MAX_AGE;
        !self.has_room() || self.since.is_some_and(is_old)
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn expects_company(&self) -> bool {
        self.count < self.last
    }

    pub(super) fn take_members(&mut self) -> Members {
        self.last = self.count;
        self.count = 0;
        self.since = None;
        self.leader = None;
        std::mem::take(&mut self.members)
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.members.tell(self.result.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_full_when_it_is_old_or_has_many_members() {
        let now = Instant::now();
        let mut batch = Batch::default();
        assert!(!batch.is_full(now + MAX_AGE), "it is not open");
        batch.since = Some(now);
        batch.count = MAX_MEMBERS - 1;
        assert!(!batch.is_full(now));
        assert!(batch.is_full(now + MAX_AGE));
        batch.count = MAX_MEMBERS;
        assert!(batch.is_full(now));
    }
}
