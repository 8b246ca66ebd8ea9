//! How a call leaves the writer: what it has done is kept or taken back, and its connection is fit for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::db::Db;
use super::engine::Engine;
use super::session::{Access, Session};
use super::temp_objects::{TempObjects, drop_temp_objects, temp_objects};
use super::writer::Writer;
use crate::error::{Error, Result};

impl Engine {
    /// Ends the transaction of an outermost call; with `keep` it stays open for its commit. What is inside says whether
    /// the work could be kept.
    ///
    /// # Errors
    ///
    /// The connection is not this session's any more, and nothing was done.
    pub(crate) async fn end_transaction(
        self: &Arc<Self>,
        session: &Arc<Session>,
        keep: bool,
    ) -> Result<Result<()>> {
        let (engine, ending) = (Arc::clone(self), Arc::clone(session));
        let kept = session
            .control(move |db| engine.end_transaction_now(db, &ending, keep))
            .await?;
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

    /// Makes what a call has done part of the transaction that will be committed.
    fn include(&self, db: &Db, session: &Session) -> Result<()> {
        session.check()?;
        session.check_finished()?;
        if db.guard.take_changes_schema() {
            self.read_schema(db)?;
        }
        if session.is_shared() {
            db.release(0)?;
        }
        session.resolve();
        self.writer.include();
        Ok(())
    }

    /// A savepoint for a call inside the call that `session` belongs to.
    pub(crate) async fn savepoint(
        self: &Arc<Self>,
        session: &Arc<Session>,
        depth: usize,
    ) -> Result<Arc<Savepoint>> {
        let temp_before = session
            .control(move |db| {
                db.savepoint(depth)?;
                temp_objects(db)
            })
            .await??;
        Ok(Arc::new(Savepoint {
            engine: Arc::clone(self),
            session: Arc::clone(session),
            depth,
            temp_before,
            ended: AtomicBool::new(false),
        }))
    }

    /// Has a new connection take the place of the writer's: nothing that a body has set in it outlives the body. What is
    /// `held` is given back when that is done, whoever still waits for it.
    pub(crate) async fn renew_writer(self: &Arc<Self>, held: impl Send + 'static) {
        let (sender, receiver) = oneshot::channel();
        let engine = Arc::clone(self);
        self.writer.conn.post_or_run(
            move || engine.renew_writer_now(),
            move |()| {
                drop(held);
                let _ = sender.send(());
            },
        );
        let _ = receiver.await;
    }

    /// What the body has done stays, whatever becomes of the new connection: if there is none, the next call opens it.
    fn renew_writer_now(&self) {
        let conn = &self.writer.conn;
        {
            let mut slot = conn.lock();
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

/// The savepoint of a nested call. It is ended once: who comes later finds nothing to do.
pub(crate) struct Savepoint {
    engine: Arc<Engine>,
    session: Arc<Session>,
    depth: usize,
    temp_before: TempObjects,
    ended: AtomicBool,
}

impl Savepoint {
    pub(crate) async fn end(self: &Arc<Self>, keep: bool) -> Result<()> {
        let ending = Arc::clone(self);
        self.session
            .control(move |db| ending.end_now(db, keep))
            .await?
    }

    /// Takes back what was done since, unless it has been ended or the connection is another one's.
    pub(crate) fn undo(&self) {
        if let Ok(db) = self.session.conn.lock().owned_by(self.session.id) {
            let _ = self.end_now(db, false);
        }
    }

    fn end_now(&self, db: &Db, keep: bool) -> Result<()> {
        if self.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let session = &self.session;
        session.check()?;
        if db.connection.is_autocommit() {
            return Err(Error::HandleEnded);
        }
        let ended = if keep {
            drop_temp_objects(db, &self.temp_before).and_then(|()| db.release(self.depth))
        } else {
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

/// Takes back what a call has done that was not ended, and its connection.
pub(crate) fn undo_write(writer: &Writer, session: &Session) {
    let mut slot = session.conn.lock();
    let Ok(db) = slot.owned_by(session.id) else {
        return;
    };
    writer.undo(db, session);
    // What it did may be part of a transaction that others go on with.
    let alone = !session.is_shared() && !writer.in_transaction();
    let unclean = alone && session.is_unclean(db);
    if session.access == Access::Connection || unclean {
        slot.discard();
    }
    slot.take_back();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::open::Opener;
    use crate::temporary::TemporaryDirectory;

    /// The method that had the bare connection may have made tables whose constraints fail at a COMMIT only.
    // Windows lets nobody move a file that is open.
    #[cfg(unix)]
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the file is out of reach for a while"
    )]
    fn nothing_is_shared_while_the_connection_cannot_be_opened_anew() {
        let directory = TemporaryDirectory::new().unwrap();
        let opener = Opener::new(directory.path().join("file"), Config::new(directory.path()));
        let engine = Engine::new(opener, None);
        engine.writer.conn.adopt(engine.opener.create().unwrap());
        let read = engine.read_schema(engine.writer.conn.lock().db().unwrap());
        read.unwrap();
        assert!(!engine.schema_is_exclusive());
        let (file, aside) = (
            directory.path().join("file"),
            directory.path().join("aside"),
        );
        std::fs::rename(&file, &aside).unwrap();
        engine.renew_writer_now();
        assert!(engine.schema_is_exclusive());
        std::fs::rename(&aside, &file).unwrap();
        engine.renew_writer_now();
        assert!(!engine.schema_is_exclusive());
    }
}
