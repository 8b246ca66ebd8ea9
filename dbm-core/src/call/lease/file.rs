//! A lease of SQLite's file: a connection, and its transaction.

use std::pin::pin;
use std::sync::Arc;

use super::check_join;
use crate::call::site::Site;
use crate::engine::{
    Access, Conn, Engine, ReaderPermit, Savepoint, Session, WriterPermit, end_read, evict_read,
    undo_write, unless_inside, waits_for_itself,
};
use crate::error::{Error, Result};
use crate::frame::{Frame, LentPermit};
use crate::gate::{CallToken, Gate};
use crate::live;
use crate::tables::Tables;
use crate::unique_id::next_id;

/// Ended by [`end`](Self::end). If it is dropped, it undoes by itself.
pub(crate) struct FileLease<'a> {
    pub(crate) frame: Arc<Frame>,
    hold: Option<Hold<'a>>,
}

/// What a lease holds, in the order in which it is given back.
enum Hold<'a> {
    Read {
        permit: ReaderPermit<'a>,
        token: Option<CallToken<'a>>,
    },
    Write {
        permit: WriterPermit<'a>,
        token: Option<CallToken<'a>>,
    },
    /// Part of the outer call's lease. Only a write has a savepoint: a read has nothing to undo.
    Nested {
        savepoint: Option<Arc<Savepoint>>,
        _turn: LentPermit,
    },
}

impl<'a> FileLease<'a> {
    /// Waits for a reader.
    pub(crate) async fn read(
        gate: &Gate,
        engine: &'a Arc<Engine>,
        site: &'static Site,
        token: Option<CallToken<'a>>,
    ) -> Result<Self> {
        let failed = |error| not_leased(gate, site, error);
        let permit = match engine.readers.take_free() {
            Some(permit) => permit,
            None => Box::pin(engine.readers.acquire(site.method))
                .await
                .map_err(failed)?,
        };
        let session = new_session(permit.conn(), Access::Read, site);
        if gate.live.is_active()
            && let Some(collector) = live::collector(gate.id)
        {
            session.set_collector(collector);
        }
        let frame = Frame::outermost(gate.id, engine, session, false);
        if !frame.session().take_vacant().map_err(failed)? {
            let taken = Box::pin(frame.session().take_connection()).await;
            taken.map_err(failed)?;
        }
        let mut lease = Self {
            frame,
            hold: Some(Hold::Read { permit, token }),
        };
        engine.readers.mark.count_read();
        if !lease.frame.session().is_one_statement() {
            lease.show().map_err(failed)?;
        }
        Ok(lease)
    }

    /// Waits for the writer.
    pub(crate) async fn write(
        gate: &Gate,
        engine: &'a Arc<Engine>,
        site: &'static Site,
        access: Access,
        token: Option<CallToken<'a>>,
    ) -> Result<Self> {
        if engine.opener.config.read_only {
            return Err(Error::ReadOnly {
                method: site.method,
            });
        }
        let mut write = pin!(Self::take_writer(gate, engine, site, access, token, false));
        let conn = &engine.writer.conn;
        let refused = |holder| waits_for_itself(site.method, holder);
        unless_inside(|| conn.is_run_here(), write.as_mut(), refused)
            .await
            .map_err(|error| not_leased(gate, site, error))
    }

    /// The writer, for a call or (`during_init`) for the hooks of start-up.
    pub(crate) async fn take_writer(
        gate: &Gate,
        engine: &'a Arc<Engine>,
        site: &'static Site,
        access: Access,
        token: Option<CallToken<'a>>,
        during_init: bool,
    ) -> Result<Self> {
        let alone = access == Access::Connection || during_init;
        let share_policy = (!alone).then_some(&site.share_policy);
        let session = new_session(&engine.writer.conn, access, site);
        let frame = Frame::outermost(gate.id, engine, session, during_init);
        // The body would wait for another process, and a timeout would count that as its time.
        let has_all_time = site.timeout.is_none();
        let may_autocommit = || {
            let is_unwrapped = has_all_time && frame.session().is_unwrapped();
            is_unwrapped && !engine.schema_is_exclusive() && engine.writer.allows_autocommit()
        };
        let (writer, wants) = (&engine.writer, may_autocommit());
        let mut permit = writer.acquire(&frame, share_policy, wants).await?;
        if access == Access::Connection {
            // Until the schema is read again after it: its body may make constraints that fail only at COMMIT.
            engine.make_schema_exclusive();
        }
        if engine.schema_is_exclusive() {
            // Checked once the permit has come: a new schema may have been read while the call waited.
            permit.make_exclusive();
        }
        frame.session().set_shared(permit.joins);
        // As this: what the permit says was true when the call arrived.
        let autocommits = permit.autocommits && may_autocommit();
        if engine.stops_halfway() || !(permit.joins || autocommits) {
            frame.session().needs_transaction();
        }
        let lease = Self {
            frame,
            hold: Some(Hold::Write { permit, token }),
        };
        let session = lease.frame.session();
        engine.writer.mend().await?;
        let is_ready = session.is_unwrapped() && session.take_vacant()?;
        if !is_ready && !session.begin_at_once()? {
            session.take_connection().await?;
            if !session.is_unwrapped() {
                Session::begin(&lease.frame).await?;
            }
        }
        session.set_ready();
        Ok(lease)
    }

    /// A call inside another call of the same manager: it joins the transaction that is running.
    pub(crate) async fn join(
        outer: &Arc<Frame>,
        site: &'static Site,
        access: Access,
    ) -> Result<Self> {
        check_join(outer, site, access)?;
        let permit = outer.lend(site.method).await?;
        outer.check()?;
        if outer.session().ran_alone() {
            return Err(Error::Nesting {
                outer: outer.method,
                inner: site.method,
                why: "the outer call had one statement, which has run; await the inner call in its body",
            });
        }
        Session::begin_late(outer).await?;
        outer.session().needs_transaction();
        let frame = Frame::nested(outer, access, site.method);
        let savepoint = if access == Access::Write {
            let (engine, depth) = (frame.engine()?, frame.depth);
            Some(engine.savepoint(&frame, depth).await?)
        } else {
            None
        };
        Ok(Self {
            frame,
            hold: Some(Hold::Nested {
                savepoint,
                _turn: permit,
            }),
        })
    }

    /// From here on others can see a read, and end it. Fails once all readers are closed.
    fn show(&mut self) -> Result<()> {
        match &mut self.hold {
            Some(Hold::Read { permit, .. }) => permit.serve(&self.frame),
            _ => Ok(()),
        }
    }

    /// The body waits. A read that is not over at once can be seen by others, and ended.
    pub(super) fn body_waits(&mut self, site: &Site) {
        if let Err(closed) = self.show()
            && self.frame.session().check().is_ok()
        {
            evict_read(&self.frame, closed);
        }
        let session = self.frame.session();
        if !session.is_active() {
            // The body waits for something else. The snapshot belongs to the beginning of the call, so it is taken before
            // such a wait at the latest. Other calls' work must not wait with the body, so the method's calls are exclusive
            // from now on.
            site.share_policy.make_exclusive();
            session.take_snapshot_now();
        }
    }

    /// Commits, and returns once that is durable; or rolls back.
    pub(super) async fn end(&mut self, keep: bool, site: &'static Site) -> Result<()> {
        self.frame.end().await;
        self.learn(site);
        if !keep {
            self.frame.session().reads_anything();
        }
        match &self.hold {
            None => Err(Error::HandleEnded),
            Some(Hold::Read { .. }) => {
                self.give_back();
                if keep {
                    let session = self.frame.session();
                    session.check().and_then(|()| session.check_finished())
                } else {
                    Ok(())
                }
            }
            Some(Hold::Nested { savepoint, .. }) => {
                let Some(savepoint) = savepoint else {
                    // The outer call goes on at once.
                    self.hold = None;
                    return Ok(());
                };
                savepoint.end(keep && self.frame.is_whole()).await?;
                self.hold = None;
                self.frame.check_whole()
            }
            Some(Hold::Write { .. }) if self.frame.access == Access::Connection => {
                Box::pin(self.end_connection(keep)).await
            }
            Some(Hold::Write { .. }) if self.frame.session().has_autocommitted() => {
                self.give_back();
                let session = self.frame.session();
                match session.autocommit() {
                    None if keep => session.check(),
                    _ => Ok(()),
                }
            }
            Some(Hold::Write { .. }) => {
                if keep && !self.frame.session().ran_alone() {
                    Session::begin_late(&self.frame).await?;
                }
                self.end_transaction(keep).await
            }
        }
    }

    /// Records what the call has shown about its method: whether it may share a transaction.
    fn learn(&mut self, site: &'static Site) {
        let session = self.frame.session();
        if matches!(session.check(), Err(Error::BatchLost { by }) if by == site.method) {
            // It kept the members of its transaction waiting, and was evicted.
            site.share_policy.make_exclusive();
        }
        if let Some(Hold::Write { permit, .. }) = &mut self.hold
            && session.is_exclusive()
        {
            site.share_policy.make_exclusive();
            permit.make_exclusive();
        }
    }

    async fn end_transaction(&mut self, keep: bool) -> Result<()> {
        let engine = self.frame.engine()?;
        let keep = keep && self.frame.is_whole();
        let kept = engine.end_transaction(&self.frame, keep).await?;
        let Some(Hold::Write { permit, token }) = self.hold.take() else {
            return Err(Error::HandleEnded);
        };
        let session = self.frame.session();
        if keep && kept.is_ok() {
            engine.writer.finish(permit, session).await?;
        } else if session.is_shared() {
            // The answer waits for the commit: what the call has read from the shared transaction may still be rolled
            // back.
            let _ = engine.writer.finish(permit, session).await;
        } else {
            drop(permit);
        }
        drop(token);
        kept?;
        self.frame.check_whole()
    }

    /// Renews the connection, so that no setting outlives the body.
    async fn end_connection(&mut self, keep: bool) -> Result<()> {
        let (engine, session) = (self.frame.engine()?, self.frame.session());
        let left_open = Session::is_in_transaction(&self.frame).await?;
        // What was written to a removed file is lost. If the system does not tell whether it is removed, the outcome is
        // unknown.
        let same_file = session.conn.check_identity().map_err(|error| match error {
            Error::FileReplaced { .. } => error,
            error => Error::CommitUnknown {
                cause: error.cause(),
            },
        });
        // Asked before the connection is replaced: what comes after this cannot undo the body's work any more.
        let whole = session.check();
        let held = self.hold.take().map(Hold::into_owned);
        engine.renew_writer(session.id, held).await;
        match (keep, left_open) {
            (true, true) => Err(Error::TransactionLeftOpen {
                method: session.method,
            }),
            (true, false) => whole.and(same_file),
            (false, _) => Ok(()),
        }
    }

    /// Undoes what was not ended and gives everything back: here if that is quick, otherwise after the running statement.
    fn give_back(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        self.frame.end_now();
        let session = self.frame.session();
        let quick = !session.conn.has_pending()
            && session.access != Access::Connection
            && (session.has_autocommitted() || !session.has_worked_long());
        if quick {
            hold.undo(session);
        } else {
            let (hold, frame) = (hold.into_owned(), Arc::clone(&self.frame));
            let undo = move || {
                hold.undo(frame.session());
                hold
            };
            session.conn.post_or_run(undo, drop);
        }
    }
}

impl Hold<'_> {
    /// Undoes the call's work, and then gives back what is held.
    fn undo(&self, session: &Session) {
        match self {
            Hold::Read { .. } => end_read(session),
            Hold::Write { permit, .. } if session.has_autocommitted() => {
                permit.writer().finish_autocommit(session);
            }
            Hold::Write { permit, .. } => undo_write(permit.writer(), session),
            Hold::Nested { savepoint, .. } => {
                if let Some(savepoint) = savepoint {
                    savepoint.undo();
                }
            }
        }
    }

    /// For the worker thread, which may give it back after its call is gone.
    fn into_owned(self) -> Hold<'static> {
        match self {
            Self::Read { permit, token } => Hold::Read {
                permit: permit.into_owned(),
                token: token.map(CallToken::into_owned),
            },
            Self::Write { permit, token } => Hold::Write {
                permit: permit.into_owned(),
                token: token.map(CallToken::into_owned),
            },
            Self::Nested { savepoint, _turn } => Hold::Nested { savepoint, _turn },
        }
    }
}

impl Drop for FileLease<'_> {
    fn drop(&mut self) {
        if self.hold.is_some() {
            self.frame.session().reads_anything();
        }
        self.give_back();
    }
}

/// Why a call has got no connection.
#[cold]
fn not_leased(gate: &Gate, site: &Site, error: Error) -> Error {
    if let Some(collector) = live::collector(gate.id) {
        // Nobody knows what it would have read.
        collector.add(&Tables::All);
    }
    match error {
        // The connection was closed before the call had it.
        Error::HandleEnded => Error::Closed {
            method: site.method,
        },
        error => error,
    }
}

fn new_session(conn: &Arc<Conn>, access: Access, site: &'static Site) -> Session {
    Session::new(
        Arc::clone(conn),
        next_id(),
        access,
        site.method,
        site.one_statement,
        &site.offloaded,
    )
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::config::{Config, Execution};
    use crate::engine::{Db, Work, changed};
    use crate::frame::Started;
    use crate::params::Params as _;
    use crate::temporary::TemporaryDirectory;
    use crate::test_support::{engine_in, engine_with, hold_up, run, starts};

    /// Where every statement runs in its task, with this schema.
    fn inline_engine(directory: &TemporaryDirectory, schema: &str) -> Arc<Engine> {
        let config = Config::new(directory.path()).execution(Execution::Inline);
        let engine = engine_with(directory, config);
        let create = |db: &mut Db| db.connection.execute_batch(schema);
        create(engine.writer.conn.lock().db().unwrap()).unwrap();
        engine
    }

    fn is_autocommit(engine: &Engine) -> bool {
        let mut slot = engine.writer.conn.lock();
        slot.db().unwrap().connection.is_autocommit()
    }

    fn insert() -> Work<'static, usize> {
        Work::Statement {
            sql: "INSERT INTO t VALUES (1)".into(),
            params: ().into_params().unwrap(),
            finish: changed,
            returns_rows: false,
        }
    }

    fn inserts_here(lease: &FileLease<'_>) {
        let Started::Done(Ok(1)) = lease.frame.try_statement(&mut insert()) else {
            panic!("it runs here");
        };
    }

    #[test]
    fn a_write_of_one_statement_opens_no_transaction_while_it_is_alone() {
        static ALONE: Site = Site::new("", "alone").one_statement();
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = inline_engine(&directory, "CREATE TABLE t (x)");
            let gate = Gate::new(|_| ());
            let write =
                || FileLease::take_writer(&gate, &engine, &ALONE, Access::Write, None, false);

            let mut lease = write().await.unwrap();
            assert!(is_autocommit(&engine));
            inserts_here(&lease);
            assert!(lease.frame.session().has_autocommitted());
            lease.end(true, &ALONE).await.unwrap();

            // It turns out to need one.
            let mut lease = write().await.unwrap();
            Session::begin_late(&lease.frame).await.unwrap();
            assert!(!is_autocommit(&engine));
            lease.end(true, &ALONE).await.unwrap();
            assert!(is_autocommit(&engine));
        });
    }

    /// A wait for another process is no time of its body.
    #[test]
    fn a_write_with_a_timeout_has_its_transaction_before_its_body() {
        static LIMITED: Site = Site::new("", "limited").one_statement().timeout_ms(1_000);
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = inline_engine(&directory, "");
            let gate = Gate::new(|_| ());
            let lease =
                FileLease::take_writer(&gate, &engine, &LIMITED, Access::Write, None, false).await;
            assert!(!is_autocommit(&engine));
            lease.unwrap().end(true, &LIMITED).await.unwrap();
        });
    }

    #[test]
    fn an_error_of_the_file_beside_a_statement_that_commits_has_every_connection_reopened() {
        static ALONE: Site = Site::new("", "alone").one_statement();
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = inline_engine(&directory, "CREATE TABLE t (x)");
            let reader = engine.readers.first();
            reader.open().unwrap();
            let gate = Gate::new(|_| ());
            let write =
                || FileLease::take_writer(&gate, &engine, &ALONE, Access::Write, None, false);

            let mut lease = write().await.unwrap();
            inserts_here(&lease);
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
            let error = rusqlite::Error::SqliteFailure(code, None);
            lease.frame.session().set_failure(&error.into(), false);
            lease.end(true, &ALONE).await.unwrap();

            write().await.unwrap().end(true, &ALONE).await.unwrap();
            assert!(!reader.is_open());
        });
    }

    /// Another process may have changed the schema before the connection was opened, so that a statement stops halfway.
    #[test]
    fn the_first_write_of_a_new_connection_reads_the_schema() {
        static ALONE: Site = Site::new("", "alone").one_statement();
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = inline_engine(&directory, "CREATE TABLE t (x UNIQUE ON CONFLICT FAIL)");
            engine.writer.conn.lock().discard();
            assert!(!engine.stops_halfway());
            let gate = Gate::new(|_| ());
            let write = FileLease::take_writer(&gate, &engine, &ALONE, Access::Write, None, false);
            let mut lease = write.await.unwrap();
            let mut insert = insert();
            if let Started::NotYet = lease.frame.try_statement(&mut insert) {
                assert_eq!(lease.frame.statement(insert, None).await.unwrap(), 1);
            }
            lease.end(true, &ALONE).await.unwrap();
            assert!(engine.stops_halfway());
        });
    }

    /// The call had met an error that spoils the connection, and was dropped after its work became part of the
    /// transaction.
    #[test]
    fn a_dropped_call_leaves_the_connection_to_those_who_go_on_with_its_transaction() {
        static DROPPED: Site = Site::new("", "dropped");
        static GOES_ON: Site = Site::new("", "goes_on");
        for site in [&DROPPED, &GOES_ON] {
            while !site.share_policy.may_share() {
                site.share_policy.ran_clean();
            }
        }
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let engine = engine_in(&directory);
            let conn = Arc::clone(&engine.writer.conn);
            let gate = Gate::new(|_| ());
            let write =
                |site| FileLease::take_writer(&gate, &engine, site, Access::Write, None, false);

            let mut dropped = write(&DROPPED).await.unwrap();
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            let busy = rusqlite::Error::SqliteFailure(busy, None);
            dropped.frame.session().set_failure(&busy.into(), false);
            let mut goes_on = pin!(write(&GOES_ON));
            starts(goes_on.as_mut(), Waker::noop());
            let go_on = hold_up(&conn);
            {
                let mut keeps = pin!(dropped.end(true, &DROPPED));
                starts(keeps.as_mut(), Waker::noop());
                let (sender, kept) = tokio::sync::oneshot::channel();
                conn.post(|| (), |()| sender.send(()).unwrap()).unwrap();
                go_on.send(()).unwrap();
                kept.await.unwrap();
            }
            drop(dropped);
            goes_on.await.unwrap().end(true, &GOES_ON).await.unwrap();
        });
    }
}
