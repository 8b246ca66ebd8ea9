//! How a call leaves the writer: its work is kept or undone, and the connection is made ready for the next call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::connection::OwnerId;
use super::db::Db;
use super::engine::Engine;
use super::session::{Access, HasSession, Session, SharedSession};
use super::temp_objects::{TempObjects, drop_temp_objects, temp_objects};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::tables::Tables;

impl Engine {
    /// Ends the transaction of an outermost call. With `keep` it stays open for its commit. The inner result says whether
    /// the work could be kept.
    ///
    /// # Errors
    ///
    /// The session no longer owns the connection, and nothing was done.
    pub(crate) async fn end_transaction(
        self: &Arc<Self>,
        shared: &Arc<impl HasSession>,
        keep: bool,
    ) -> Result<Result<()>> {
        let session = shared.session();
        let here = session.slot_here().map(|mut slot| {
            session.control_here(&mut slot, |session, db| {
                self.end_transaction_now(db, session, keep)
            })
        });
        let kept = match here {
            Some(kept) => kept?,
            None => {
                let engine = Arc::clone(self);
                let end = move |session: &Session, db: &mut Db| {
                    engine.end_transaction_now(db, session, keep)
                };
                Box::pin(Session::control_on_lane(shared, end)).await?
            }
        };
        if !keep || kept.is_err() {
            session.give_connection_back();
        }
        Ok(kept)
    }

    fn end_transaction_now(&self, db: &Db, session: &Session, keep: bool) -> Result<()> {
        let result = if keep {
            self.include(db, session)
        } else {
            session.check()
        };
        if !keep || result.is_err() {
            self.writer.undo(db, session);
        }
        result
    }

    /// Makes the call's work part of the transaction that will be committed.
    fn include(&self, db: &Db, session: &Session) -> Result<()> {
        session.check()?;
        session.check_finished()?;
        if db.guard.take_changes_schema() {
            self.read_schema(db)?;
        }
        if session.is_shared() && session.has_savepoint() {
            db.release(0)?;
        }
        session.resolve();
        self.writer
            .include(session.take_aftermath(), session.records());
        Ok(())
    }

    /// A savepoint for a call inside the call that `session` belongs to.
    pub(crate) async fn savepoint(
        self: &Arc<Self>,
        shared: &Arc<impl HasSession>,
        depth: usize,
    ) -> Result<Arc<Savepoint>> {
        let temp_before = Session::control(shared, move |_, db| {
            db.savepoint(depth)?;
            temp_objects(db)
        })
        .await??;
        Ok(Arc::new(Savepoint {
            engine: Arc::clone(self),
            session: Arc::clone(shared) as SharedSession,
            depth,
            temp_before,
            promised: shared.session().promised(),
            written: shared.session().written(),
            ended: AtomicBool::new(false),
        }))
    }

    /// Replaces the writer's connection, so that no setting that the body of `owner` made outlives it. `held` is dropped once
    /// that is done, even if the caller has stopped waiting.
    pub(crate) async fn renew_writer(self: &Arc<Self>, owner: OwnerId, held: impl Send + 'static) {
        let (sender, receiver) = oneshot::channel();
        let engine = Arc::clone(self);
        self.writer.conn.post_or_run(
            move || engine.renew_writer_now(owner),
            move |()| {
                drop(held);
                let _ = sender.send(());
            },
        );
        let _ = receiver.await;
    }

    /// The body's work stays even if no connection can be opened. Then the next call opens one.
    fn renew_writer_now(&self, owner: OwnerId) {
        let conn = &self.writer.conn;
        {
            let mut slot = conn.lock();
            if !slot.belongs_to(owner) {
                // The call was evicted, and its connection replaced then. This one has the transaction of another call.
                return;
            }
            if let Some(db) = slot.db() {
                db.roll_back();
            }
            slot.discard();
            slot.take_back();
        }
        let read_schema = || conn.lock().db().map_or(Ok(()), |db| self.read_schema(db));
        if conn.open().and_then(|()| read_schema()).is_err() {
            self.make_schema_exclusive();
        }
    }
}

/// The savepoint of a nested call. It ends once; a second end does nothing.
pub(crate) struct Savepoint {
    engine: Arc<Engine>,
    session: SharedSession,
    depth: usize,
    temp_before: TempObjects,
    /// What the outer calls had promised before.
    promised: usize,
    /// How much they had written before.
    written: usize,
    ended: AtomicBool,
}

impl Savepoint {
    pub(crate) async fn end(self: &Arc<Self>, keep: bool) -> Result<()> {
        let ending = Arc::clone(self);
        Session::control(&self.session, move |_, db| ending.end_now(db, keep)).await?
    }

    /// Undoes the work since the savepoint, unless it has ended or the session no longer owns the connection.
    pub(crate) fn undo(&self) {
        let session = self.session.session();
        if let Ok(db) = session.conn.lock().owned_by(session.id) {
            let _ = self.end_now(db, false);
        }
    }

    fn end_now(&self, db: &Db, keep: bool) -> Result<()> {
        // Both ends run under the slot's lock, which already orders them: `AcqRel` protects nothing beyond that.
        if self.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let session = self.session.session();
        session.check()?;
        if db.connection.is_autocommit() {
            return Err(Error::HandleEnded);
        }
        let ended = if keep {
            drop_temp_objects(db, &self.temp_before).and_then(|()| db.release(self.depth))
        } else {
            session.take_back_promises(self.promised);
            session.forget_written(self.written);
            db.undo(self.depth)
        };
        if let Err(error) = &ended {
            // What the inner call did can be neither kept nor undone alone.
            self.engine.writer.undo(db, session);
            session.lose(Error::TransactionLost {
                cause: error.clone().cause(),
            });
        }
        ended
    }
}

/// Undoes a call's work that was not ended, and takes its connection back.
pub(crate) fn undo_write(writer: &Writer, session: &Session) {
    let mut slot = session.conn.lock();
    let Ok(db) = slot.owned_by(session.id) else {
        return;
    };
    writer.undo(db, session);
    // Its work may be part of a transaction that other calls continue.
    let alone = !session.is_shared() && !writer.in_transaction();
    let unclean = alone && session.is_unclean(db);
    if session.access == Access::Connection || unclean {
        slot.discard();
    }
    slot.take_back();
    drop(slot);
    if session.access == Access::Connection {
        // What its statements have committed stays.
        writer.tell_live_reads(|| Tables::All);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::db::CONTROL;
    use crate::temporary::TemporaryDirectory;
    use crate::test_support::{engine_in, engine_in_memory};

    /// As a call with the bare connection ends.
    fn renew(engine: &Engine) {
        engine.writer.conn.lock().give_to(1).unwrap();
        engine.renew_writer_now(1);
    }

    /// It was evicted while it asked whether it had left a transaction open.
    #[test]
    fn a_call_that_was_evicted_leaves_the_connection_to_the_next_one() {
        let engine = engine_in_memory();
        let conn = &engine.writer.conn;
        conn.lock().give_to(2).unwrap();
        {
            let mut slot = conn.lock();
            let db = slot.owned_by(2).unwrap();
            db.control(&CONTROL.begin_write).unwrap();
        }
        engine.renew_writer_now(1);
        let mut slot = conn.lock();
        let db = slot.owned_by(2).unwrap();
        assert!(!db.connection.is_autocommit(), "its transaction is open");
    }

    /// A method with the bare connection may have made tables whose constraints fail only at COMMIT.
    // On Windows an open file cannot be moved.
    #[cfg(unix)]
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the file is out of reach for a while"
    )]
    fn nothing_is_shared_while_the_connection_cannot_be_opened_anew() {
        let directory = TemporaryDirectory::new().unwrap();
        let engine = engine_in(&directory);
        assert!(!engine.schema_is_exclusive());
        let (file, aside) = (
            directory.path().join("file"),
            directory.path().join("aside"),
        );
        std::fs::rename(&file, &aside).unwrap();
        renew(&engine);
        assert!(engine.schema_is_exclusive());
        std::fs::rename(&aside, &file).unwrap();
        renew(&engine);
        assert!(!engine.schema_is_exclusive());
    }
}
