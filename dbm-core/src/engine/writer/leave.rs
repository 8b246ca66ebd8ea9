//! Calls that leave their transaction otherwise than by its commit.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Writer;
use super::pace::Place;
use super::queue::{Holding, NOBODY, State};
use crate::engine::connection::OwnerId;
use crate::engine::db::Db;
use crate::engine::session::{Kind, Session};
use crate::error::{Error, Result};

impl Writer {
    /// Takes back what a call has done, once; what others have done in the same transaction stays.
    pub(crate) fn undo(&self, db: &Db, session: &Session) {
        // What it has met may have spoilt the connections.
        if session.is_tainted() {
            self.spoil();
        }
        if session.settle() {
            return;
        }
        if db.connection.is_autocommit() {
            if session.is_shared() {
                self.batch_lost(session.method);
            }
        } else if !session.is_shared() {
            db.roll_back();
        } else if db.undo(0).is_err() {
            db.roll_back();
            self.batch_lost(session.method);
        }
    }

    /// Before a statement that cannot share a transaction: commits what others have done in it and begins a new one.
    /// Too late when the call has done something itself; it can be made again, and will run alone then.
    pub(crate) async fn go_alone(
        self: &Arc<Self>,
        session: &Arc<Session>,
        depth: usize,
    ) -> Result<()> {
        session.set_unshareable();
        if !session.is_shared() {
            return Ok(());
        }
        if session.has_begun() || depth > 0 {
            return Err(Error::BatchLost { by: session.method });
        }
        let (sender, receiver) = oneshot::channel();
        let (writer, leaving) = (Arc::clone(self), Arc::clone(session));
        let leave = move || {
            let released = match writer.conn.lock().owned_by(leaving.id) {
                Ok(db) => db.release(0),
                Err(error) => Err(leaving.lost_or(error)),
            };
            released.and_then(|()| {
                let members = writer.lock().batch.take_members();
                drop(writer.commit_now(leaving.id, members, Place::OnThread));
                leaving.set_shared(false);
                leaving.take(leaving.conn.lock())
            })
        };
        self.conn
            .post_or_run(leave, |result| drop(sender.send(result)));
        receiver.await.unwrap_or(Err(Error::HandleEnded))?;
        session.begin_write().await
    }

    /// Undoes the work of a holder and passes its turn on; its body gets `reason` from then on.
    pub(crate) fn evict(self: &Arc<Self>, session: Arc<Session>, reason: Error) {
        session.lose(reason);
        self.conn.interrupt_owner(session.id);
        let writer = Arc::clone(self);
        self.conn.post_or_run(
            move || {
                let mut slot = writer.conn.lock();
                let Some(id) = writer.take_turn(&session) else {
                    return;
                };
                // It may not have come to its connection yet.
                if let Ok(db) = slot.owned_by(session.id) {
                    writer.undo(db, &session);
                    if session.kind == Kind::Connection {
                        slot.discard();
                    }
                    slot.take_back();
                }
                drop(slot);
                // Here, before a close that may be next on the lane.
                if let Some(job) = writer.before_next(id, true) {
                    job();
                }
            },
            drop,
        );
    }

    /// Takes the turn from a call, unless it is about to commit. When its body has ended, what it did is committed
    /// without it, and it is told when it asks.
    fn take_turn(&self, session: &Session) -> Option<OwnerId> {
        let mut state = self.lock();
        let State { holder, batch, .. } = &mut *state;
        let holding = holder.as_mut().filter(|holding| {
            let held_by = holding.session.as_ref();
            held_by.is_some_and(|held_by| held_by.id == session.id)
        })?;
        if session.is_settled() && batch.is_open() {
            session.set_late_answer(batch.members.join());
        }
        Some(holding.take_over())
    }

    /// Refuses new calls and those in the queue, and takes the turn from whoever has it.
    pub(crate) fn shut(self: &Arc<Self>) {
        let (session, unclaimed, queue, free) = {
            let mut state = self.lock();
            state.closed = true;
            let free = self.take_free_turn(&mut state, NOBODY);
            let holder = state.holder.as_mut();
            (
                holder.as_ref().and_then(|holding| holding.session.clone()),
                holder
                    .filter(|holding| !holding.claimed)
                    .map(Holding::take_over),
                std::mem::take(&mut state.queue),
                free,
            )
        };
        drop((queue, free));
        if let Some(id) = unclaimed {
            self.pass_on(id, true);
        }
        if let Some(session) = session {
            let reason = Error::Closed {
                method: session.method,
            };
            self.evict(session, reason);
        }
    }
}
