//! Statements of a call on a server. All of them wait, one after the other.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::many::convert;
use super::{Frame, Seat, StreamPermit};
use crate::after_commit::{AfterCommit, Ticket};
use crate::channel::Unsent;
use crate::engine::{Access, RowChannel, Work, Yield};
use crate::error::{Error, Result};
use crate::params::{BoundParams, Params};
use crate::row::{self, FromRow};
use crate::server::{Server, ServerSession, refused};

impl Seat for ServerSession {
    type Engine = Server;

    fn call(&self) -> (Access, &'static str) {
        (self.access, self.method)
    }

    fn after_commit(server: &Server) -> &AfterCommit {
        &server.after_commit
    }

    fn promise(&self, ticket: Ticket) {
        self.promise(ticket);
    }

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn abandon(&self) {
        self.lose(Error::StatementDropped);
    }

    fn set_failure(&self, error: &Error, _: bool) {
        self.set_failure(error);
    }

    fn acquire_timeout(&self) -> Duration {
        self.server.acquire_timeout()
    }

    fn is_run_here(&self) -> Option<&'static str> {
        // No code of the program runs inside of a statement.
        None
    }
}

impl Frame<ServerSession> {
    pub(super) async fn statement<T>(self: &Arc<Self>, work: Work<'_, T>) -> Result<T> {
        let _permit = self.take_statement_permit().await?;
        self.check()?;
        let result = match work {
            Work::Statement {
                sql,
                params,
                finish,
                ..
            } => {
                let run = self.session().run(&sql, &params);
                let answer = self.whole(run).await;
                answer.and_then(|answer| finish(Yield::Answer(&answer)))
            }
            Work::Script { sql, finish } => {
                let script = self.session().script(&sql);
                self.whole(script).await.map(|()| finish())
            }
            Work::Operation { .. } | Work::Closure(_) => Err(refused("rusqlite's connection")),
        };
        self.note_failure(result)
    }

    /// Runs a statement for each row, in a savepoint of its own.
    pub(super) async fn execute_many<P: Params>(
        self: &Arc<Self>,
        sql: &str,
        mut rows: impl Iterator<Item = P> + Send,
    ) -> Result<usize> {
        let first = convert(&mut rows, 0)?;
        if first.is_empty() {
            return self.check().map(|()| 0);
        }
        let _permit = self.take_statement_permit().await?;
        self.check()?;
        let (session, depth) = (self.session(), self.depth + 1);
        let all = async {
            session.savepoint(depth).await?;
            let changed = self.run_chunks(sql, first, &mut rows).await;
            session
                .end_savepoint(depth, changed.is_ok())
                .await
                .and(changed)
        };
        let result = self.whole(all).await;
        self.note_failure(result)
    }

    async fn run_chunks<P: Params>(
        &self,
        sql: &str,
        mut chunk: Vec<BoundParams>,
        rows: &mut (impl Iterator<Item = P> + Send),
    ) -> Result<usize> {
        let (mut changed, mut done) = (0, 0);
        while !chunk.is_empty() {
            let ran = self.session().run_many(sql, &chunk).await;
            changed += ran.map_err(|error| error.after_rows(done))?;
            done += chunk.len();
            chunk = convert(rows, done)?;
        }
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Produces the rows of a statement, as the body takes them.
    pub(super) async fn stream<T: FromRow>(
        self: &Arc<Self>,
        sql: &str,
        params: BoundParams,
        channel: Arc<RowChannel<T>>,
    ) -> Result<StreamPermit<'_>> {
        let permit = self.note_stream(self.take_statement_permit().await?);
        self.check()?;
        let session = self.session();
        let produced = async {
            let mut open = self.whole(session.unless_shut(session.open())).await?;
            let produce = async {
                let mut rows = open.get()?.stream(sql, &params).await?;
                let mut before = 0;
                while let Some(answer) = rows.next().await? {
                    let chunk = row::all_after((&answer).into(), before)?;
                    before += answer.len();
                    if !send(&channel, chunk).await {
                        break;
                    }
                }
                Ok(())
            };
            session.unless_shut(produce).await
        };
        self.note_failure(produced.await)?;
        Ok(permit)
    }

    /// What must not be dropped before it has ended: then nobody knows what it has done.
    pub(crate) async fn whole<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut dropped = AbandonOnDrop(Some(self));
        let result = work.await;
        dropped.0 = None;
        result
    }
}

/// Waits until there is room. False once the stream is gone.
async fn send<T>(channel: &RowChannel<T>, mut chunk: Vec<T>) -> bool {
    loop {
        match channel.chunks.try_send(chunk) {
            Ok(()) => return true,
            Err(Unsent::Closed) => return false,
            Err(Unsent::Full(back)) => chunk = back,
        }
        // The stream polls this before it takes a chunk, and again before it takes the next one.
        let mut was_polled = false;
        poll_fn(|_| match std::mem::replace(&mut was_polled, true) {
            false => Poll::Pending,
            true => Poll::Ready(()),
        })
        .await;
    }
}

struct AbandonOnDrop<'a>(Option<&'a Frame<ServerSession>>);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(frame) = self.0 {
            frame.abandon_statement();
        }
    }
}
