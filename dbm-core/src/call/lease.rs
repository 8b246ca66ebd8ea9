//! The lease: a connection for one call, with its transaction, and what ends it on every path.

use std::sync::Arc;

use super::gate::{Entered, Gate};
use super::site::Site;
use crate::engine::{
    Conn, Db, Engine, Kind, MAX_DEPTH, OwnerId, Place, Session, Turn, end_read, next_id, too_deep,
};
use crate::error::{Error, Result};
use crate::frame::{Frame, Lent};

/// Ended by [`keep`](Self::keep) or [`undo`](Self::undo); dropped, it undoes by itself.
pub(crate) struct Lease<'a> {
    pub(crate) frame: Arc<Frame>,
    hold: Option<Hold<'a>>,
}

/// What a lease holds, in the order in which it is given back.
enum Hold<'a> {
    Read {
        place: Place,
        entered: Option<Entered<'a>>,
    },
    Write {
        turn: Turn,
        entered: Option<Entered<'a>>,
    },
    Nested {
        _turn: Lent,
        savepoint: bool,
    },
}

impl<'a> Lease<'a> {
    /// A lease of its own: waits for a reader or for the writer.
    pub(crate) async fn acquire(
        gate: &Gate,
        engine: &Arc<Engine>,
        site: &'static Site,
        kind: Kind,
        entered: Option<Entered<'a>>,
    ) -> Result<Self> {
        let lease = match kind {
            Kind::Read => Self::read(gate, engine, site, entered).await,
            Kind::Write | Kind::Connection => {
                Self::write(gate, engine, site, kind, entered, false).await
            }
        };
        lease.map_err(|error| match error {
            // The connection was closed before the call had it.
            Error::HandleEnded => Error::Closed {
                method: site.method,
            },
            error => error,
        })
    }

    async fn read(
        gate: &Gate,
        engine: &Arc<Engine>,
        site: &'static Site,
        entered: Option<Entered<'a>>,
    ) -> Result<Self> {
        let place = engine.readers.acquire(site.method).await?;
        let session = new_session(engine, place.conn(), next_id(), Kind::Read, site);
        place.serve(&session)?;
        session.take_connection().await?;
        engine.readers.mark.count_read();
        let frame = Frame::outermost(gate.id, engine, session, false);
        Ok(Self {
            frame,
            hold: Some(Hold::Read { place, entered }),
        })
    }

    /// The writer, for a call or (`during_init`) for the hooks of start-up.
    pub(crate) async fn write(
        gate: &Gate,
        engine: &Arc<Engine>,
        site: &'static Site,
        kind: Kind,
        entered: Option<Entered<'a>>,
        during_init: bool,
    ) -> Result<Self> {
        let busy_timeout = engine.opener.config.busy_timeout;
        let alone = kind == Kind::Connection || during_init;
        let trust = (!alone).then_some(&site.trust);
        let session = new_session(engine, &engine.writer.conn, next_id(), kind, site);
        let frame = Frame::outermost(gate.id, engine, Arc::clone(&session), during_init);
        let mut turn = engine.writer.acquire(&session, trust).await?;
        if engine.never_shares() {
            // Asked when its turn has come: a new schema may have been read while the call waited.
            turn.make_solo();
        }
        let joins = turn.joins;
        session.set_shared(joins);
        let lease = Self {
            frame,
            hold: Some(Hold::Write { turn, entered }),
        };
        engine.writer.mend().await?;
        session.take_connection().await?;
        match kind {
            Kind::Write if joins => session.control(|db| db.savepoint(0)).await??,
            Kind::Write => {
                let begun = session.begin_write().await;
                if let Err(error) = &begun {
                    session.set_failure(error, false);
                }
                begun?;
            }
            // Its statements run on a thread, where SQLite may wait for another process.
            _ => {
                session
                    .control(move |db| db.connection.busy_timeout(busy_timeout))
                    .await??;
            }
        }
        Ok(lease)
    }

    /// A call inside another call of the same manager: it joins the transaction that is running.
    pub(crate) async fn join(outer: &Arc<Frame>, site: &'static Site, kind: Kind) -> Result<Self> {
        if let Some(why) = cannot_join(outer, kind) {
            return Err(Error::Nesting {
                outer: outer.method,
                inner: site.method,
                why,
            });
        }
        if outer.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        let turn = outer.lend(site.method).await?;
        outer.check()?;
        let frame = Frame::nested(outer, kind, site.method);
        let savepoint = kind == Kind::Write;
        if savepoint {
            let depth = frame.depth;
            frame
                .session
                .control(move |db| db.savepoint(depth))
                .await??;
        }
        Ok(Self {
            frame,
            hold: Some(Hold::Nested {
                _turn: turn,
                savepoint,
            }),
        })
    }

    /// The body is done and well: commits, and returns once that is durable.
    pub(crate) fn keep(&mut self, site: &'static Site) -> impl Future<Output = Result<()>> {
        self.end(true, site)
    }

    /// The body has failed: rolls back.
    pub(crate) fn undo(&mut self, site: &'static Site) -> impl Future<Output = Result<()>> {
        self.end(false, site)
    }

    async fn end(&mut self, keep: bool, site: &'static Site) -> Result<()> {
        self.frame.end().await;
        if matches!(self.frame.session.check(), Err(Error::BatchLost { by }) if by == site.method) {
            // It kept the members of its transaction waiting, and was taken out.
            site.trust.keep_alone();
        }
        let frame = Arc::clone(&self.frame);
        let session = &frame.session;
        let poisoned = frame.is_poisoned();
        match self.hold {
            None => Err(Error::HandleEnded),
            Some(Hold::Read { .. }) => {
                self.give_back();
                if keep { session.check() } else { Ok(()) }
            }
            Some(Hold::Nested {
                savepoint: false, ..
            }) => {
                // There is nothing to undo, and the outer call goes on at once.
                self.hold = None;
                Ok(())
            }
            Some(Hold::Nested {
                savepoint: true, ..
            }) => {
                let keep = keep && !poisoned;
                let frame = Arc::clone(&frame);
                session
                    .control(move |db| end_savepoint(db, &frame, keep))
                    .await??;
                self.hold = None;
                if poisoned {
                    Err(Error::StatementDropped)
                } else {
                    Ok(())
                }
            }
            Some(Hold::Write { .. }) if session.kind == Kind::Connection => {
                Box::pin(self.end_connection(keep)).await
            }
            Some(Hold::Write { ref mut turn, .. }) => {
                let writer = &frame.engine()?.writer;
                if session.is_unshareable() {
                    site.trust.keep_alone();
                    turn.make_solo();
                }
                let keep = keep && !poisoned;
                let in_frame = Arc::clone(&frame);
                let kept = session
                    .control(move |db| end_transaction(db, &in_frame, keep))
                    .await?;
                if !keep || kept.is_err() {
                    session.discard_if_unclean();
                }
                let Some(Hold::Write { turn, entered }) = self.hold.take() else {
                    return Err(Error::HandleEnded);
                };
                if kept.is_ok() && keep {
                    writer.finish(turn, session).await?;
                } else if session.is_shared() {
                    // Held back: what it has seen may still turn out never to have happened.
                    let _ = writer.finish(turn, session).await;
                }
                drop(entered);
                kept?;
                if poisoned {
                    Err(Error::StatementDropped)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Nothing that was set in the connection outlives the body: a new one takes its place.
    async fn end_connection(&mut self, keep: bool) -> Result<()> {
        let session = &self.frame.session;
        let left_open = session.control(|db| !db.connection.is_autocommit()).await?;
        let method = session.method;
        let conn = Arc::clone(&session.conn);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let engine = Arc::clone(self.frame.engine()?);
        if let Some(Hold::Write { turn, entered }) = self.hold.take() {
            let entered = entered.map(Entered::into_owned);
            let renewing = Arc::clone(&conn);
            conn.post_or_run(
                move || renew(&renewing, &engine),
                move |()| {
                    drop((turn, entered));
                    let _ = sender.send(());
                },
            );
        }
        let _ = receiver.await;
        if keep && left_open {
            Err(Error::TransactionLeftOpen { method })
        } else {
            Ok(())
        }
    }

    /// Undoes what was not ended and gives everything back: here when that is quick, behind the statement that is
    /// running otherwise.
    fn give_back(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        self.frame.end_now();
        let frame = Arc::clone(&self.frame);
        let conn = Arc::clone(&frame.session.conn);
        let quick = !conn.has_pending()
            && frame.session.kind != Kind::Connection
            && !frame.session.has_worked_long();
        if quick {
            undo(&frame, &hold);
        } else {
            let hold = hold.into_owned();
            let undo = move || {
                undo(&frame, &hold);
                hold
            };
            conn.post_or_run(undo, drop);
        }
    }
}

impl Hold<'_> {
    /// For the lane, which may give it back when its call is gone.
    fn into_owned(self) -> Hold<'static> {
        match self {
            Self::Read { place, entered } => Hold::Read {
                place,
                entered: entered.map(Entered::into_owned),
            },
            Self::Write { turn, entered } => Hold::Write {
                turn,
                entered: entered.map(Entered::into_owned),
            },
            Self::Nested { _turn, savepoint } => Hold::Nested { _turn, savepoint },
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Takes back what the call has done; the hold is given back afterwards.
fn undo(frame: &Frame, hold: &Hold<'_>) {
    let session = &frame.session;
    match hold {
        Hold::Read { place, .. } => end_read(place.conn(), session),
        Hold::Nested { savepoint, .. } => {
            if *savepoint && let Ok(db) = session.conn.lock().owned_by(session.id) {
                let _ = end_savepoint(db, frame, false);
            }
        }
        Hold::Write { turn, .. } => {
            let writer = turn.writer();
            let mut slot = session.conn.lock();
            if let Ok(db) = slot.owned_by(session.id) {
                writer.undo(db, session);
                // What it did may be part of a transaction that others go on with.
                let alone = !session.is_shared() && !writer.in_transaction();
                let unclean = alone && session.is_unclean(db);
                if session.kind == Kind::Connection || unclean {
                    slot.discard();
                }
                slot.take_back();
            }
        }
    }
}

fn new_session(
    engine: &Engine,
    conn: &Arc<Conn>,
    id: OwnerId,
    kind: Kind,
    site: &'static Site,
) -> Arc<Session> {
    let config = &engine.opener.config;
    Session::new(
        Arc::clone(conn),
        id,
        kind,
        site.method,
        config.execution,
        config.busy_timeout,
        &site.offloaded,
    )
}

fn cannot_join(outer: &Frame, inner: Kind) -> Option<&'static str> {
    match (outer.kind, inner) {
        (Kind::Connection, _) => {
            Some("the outer method has the bare connection, which no other call can share")
        }
        (_, Kind::Connection) => Some("a bare connection cannot be had inside a transaction"),
        (Kind::Read, Kind::Write) => {
            Some("a read cannot become a write; give the outer method `db: &mut WriteTransaction`")
        }
        _ => None,
    }
}

/// Ends the transaction of an outermost call; with `keep` it stays open for its commit.
fn end_transaction(db: &mut Db, frame: &Frame, keep: bool) -> Result<()> {
    let (engine, session) = (frame.engine()?, &frame.session);
    let result = (|| {
        session.check()?;
        if !keep {
            return Ok(());
        }
        if session.has_left_something(db) {
            return Err(Error::Refused {
                what: "a statement left unfinished",
                why: "it would outlive the transaction",
            });
        }
        if db.guard.take_changes_schema() {
            engine.read_schema(db)?;
        }
        if session.is_shared() {
            db.release(0)?;
        }
        session.settle();
        engine.writer.include();
        Ok(())
    })();
    if !keep || result.is_err() {
        engine.writer.undo(db, session);
    }
    result
}

fn end_savepoint(db: &Db, frame: &Frame, keep: bool) -> Result<()> {
    if frame.settle() {
        return Ok(());
    }
    let session = &frame.session;
    session.check()?;
    if db.connection.is_autocommit() {
        return Err(Error::HandleEnded);
    }
    let ended = if keep {
        db.release(frame.depth)
    } else {
        db.undo(frame.depth)
    };
    if let Err(error) = &ended {
        // What the inner call did can be neither kept nor undone alone.
        frame.engine()?.writer.undo(db, session);
        session.lose(Error::TransactionLost {
            cause: error.clone().cause(),
        });
    }
    ended
}

/// What the body has done stays, whatever becomes of the new connection: if there is none, the next call opens it.
fn renew(conn: &Conn, engine: &Engine) {
    {
        let mut slot = conn.lock();
        if let Some(db) = slot.db() {
            db.roll_back();
        }
        slot.discard();
        slot.take_back();
    }
    let read_schema = || conn.lock().db().map_or(Ok(()), |db| engine.read_schema(db));
    if conn.open().and_then(|()| read_schema()).is_err() {
        engine.share_nothing();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::config::Config;
    use crate::engine::{Opener, TemporaryDirectory};
    use crate::test_support::{hold_up, run, starts};

    /// A database of its own, for calls that are made by hand.
    fn engine(directory: &TemporaryDirectory) -> Arc<Engine> {
        let opener = Opener::new(directory.path().join("file"), Config::new(directory.path()));
        let engine = Engine::new(opener, None);
        engine.writer.conn.adopt(engine.opener.create().unwrap());
        let read = engine.read_schema(engine.writer.conn.lock().db().unwrap());
        read.unwrap();
        engine
    }

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
        let engine = engine(&directory);
        assert!(!engine.never_shares());
        let (file, aside) = (
            directory.path().join("file"),
            directory.path().join("aside"),
        );
        std::fs::rename(&file, &aside).unwrap();
        renew(&engine.writer.conn, &engine);
        assert!(engine.never_shares());
        std::fs::rename(&aside, &file).unwrap();
        renew(&engine.writer.conn, &engine);
        assert!(!engine.never_shares());
    }

    /// It had met an error that spoils the connection, and was dropped when its work was part of the transaction.
    #[test]
    fn a_dropped_call_leaves_the_connection_to_those_who_go_on_with_its_transaction() {
        static DROPPED: Site = Site::new("", "dropped");
        static GOES_ON: Site = Site::new("", "goes_on");
        for site in [&DROPPED, &GOES_ON] {
            while !site.trust.is_earned() {
                site.trust.ran_clean();
            }
        }
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = engine(&directory);
            let conn = Arc::clone(&engine.writer.conn);
            let gate = Gate::new(|_| ());
            let write = |site| Lease::write(&gate, &engine, site, Kind::Write, None, false);

            let mut dropped = write(&DROPPED).await.unwrap();
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            let busy = rusqlite::Error::SqliteFailure(busy, None);
            dropped.frame.session.set_failure(&busy.into(), false);
            let mut goes_on = pin!(write(&GOES_ON));
            starts(goes_on.as_mut(), Waker::noop());
            let go_on = hold_up(&conn);
            {
                let mut keeps = pin!(dropped.keep(&DROPPED));
                starts(keeps.as_mut(), Waker::noop());
                let (sender, kept) = tokio::sync::oneshot::channel();
                conn.post(|| (), |()| sender.send(()).unwrap()).unwrap();
                go_on.send(()).unwrap();
                kept.await.unwrap();
            }
            drop(dropped);
            goes_on.await.unwrap().keep(&GOES_ON).await.unwrap();
        });
    }
}
