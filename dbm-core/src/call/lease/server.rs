//! A lease of a server: a transaction there.

use std::sync::Arc;

use super::check_join;
use crate::after_commit::Ticket;
use crate::call::site::Site;
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::frame::{Frame, LentPermit};
use crate::gate::{CallToken, Gate};
use crate::live;
use crate::remote::{Promises, Waiting};
use crate::server::{Server, ServerSession};
use crate::tables::Tables;

/// Ended by [`end`](Self::end). If it is dropped, it undoes by itself.
pub(crate) struct ServerLease<'a> {
    pub(crate) frame: Arc<Frame<ServerSession>>,
    hold: Option<Hold<'a>>,
}

enum Hold<'a> {
    Outermost(Option<CallToken<'a>>),
    /// Part of the outer call's lease, in a savepoint of its own: a statement that fails there must not end the outer call.
    Nested {
        /// What the outer calls had promised before.
        promised: usize,
        _turn: LentPermit<ServerSession>,
    },
}

impl<'a> ServerLease<'a> {
    /// A lease of its own, for a call or (`during_init`) for the hooks of start-up.
    pub(crate) fn acquire<'c>(
        gate: &'c Gate,
        server: &'c Arc<Server>,
        site: &'static Site,
        access: Access,
        token: Option<CallToken<'a>>,
        during_init: bool,
    ) -> Waiting<'c, Self>
    where
        'a: 'c,
    {
        if gate.live.is_active()
            && let Some(collector) = live::collector(gate.id)
        {
            // Which tables it reads is known to the server alone.
            collector.add(&Tables::All);
        }
        Box::pin(async move {
            let session = server.begin(access, site.method).await?;
            Ok(Self {
                frame: Frame::outermost(gate.id, server, session, during_init),
                hold: Some(Hold::Outermost(token)),
            })
        })
    }

    /// A call inside another call of the same manager: it joins the transaction that is running.
    pub(crate) fn join<'c>(
        outer: &'c Arc<Frame<ServerSession>>,
        site: &'static Site,
        access: Access,
    ) -> Waiting<'c, Self>
    where
        'a: 'c,
    {
        Box::pin(async move {
            check_join(outer, site, access)?;
            let permit = outer.lend(site.method).await?;
            outer.check()?;
            let frame = Frame::nested(outer, access, site.method);
            let savepoint = frame.session().savepoint(frame.depth);
            frame.whole(savepoint).await?;
            Ok(Self {
                hold: Some(Hold::Nested {
                    promised: frame.session().promised(),
                    _turn: permit,
                }),
                frame,
            })
        })
    }

    /// Commits, and returns once that is durable; or rolls back.
    pub(crate) fn end(&mut self, keep: bool) -> Waiting<'_, ()> {
        Box::pin(async move {
            self.frame.end().await;
            match self.hold.take() {
                None => Err(Error::HandleEnded),
                Some(Hold::Nested { promised, _turn }) => self.end_nested(keep, promised).await,
                Some(Hold::Outermost(token)) => self.end_outermost(keep, token).await,
            }
        })
    }

    async fn end_nested(&self, keep: bool, promised: usize) -> Result<()> {
        let session = self.frame.session();
        let keep = keep && self.frame.is_whole();
        let end = session.end_savepoint(self.frame.depth, keep);
        let ended = self.frame.whole(end).await;
        if !keep || ended.is_err() {
            drop(session.take_promises(promised));
        }
        ended.and(self.frame.check_whole())
    }

    async fn end_outermost(&self, keep: bool, token: Option<CallToken<'_>>) -> Result<()> {
        let session = self.frame.session();
        let (transaction, tickets) = (session.take(), session.take_promises(0));
        if session.access == Access::Connection {
            // Each statement has committed by itself.
            session.server.tell_live_reads();
        }
        session.check().and(self.frame.check_whole())?;
        let mut transaction = transaction.ok_or(Error::HandleEnded)?;
        if !keep {
            drop(tickets);
            return session.unless_shut(transaction.roll_back()).await;
        }
        if session.access == Access::Read {
            return Ok(());
        }
        session.undo_left(&mut *transaction).await?;
        let (server, token) = (
            Arc::clone(&session.server),
            token.map(CallToken::into_owned),
        );
        let is_transaction = session.access == Access::Write;
        let promises = Promises::new(move || {
            tickets.into_iter().for_each(Ticket::committed);
            if is_transaction {
                server.tell_live_reads();
            }
            drop(token);
        });
        transaction.commit(promises).await
    }
}

impl Drop for ServerLease<'_> {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        self.frame.end_now();
        let session = self.frame.session();
        match &hold {
            Hold::Outermost(_) => {
                if session.access == Access::Connection {
                    session.server.tell_live_reads();
                }
                drop(session.take());
                drop(session.take_promises(0));
            }
            Hold::Nested { promised, .. } => {
                drop(session.take_promises(*promised));
                session.leave(self.frame.depth);
            }
        }
    }
}
