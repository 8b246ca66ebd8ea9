//! One connection to the server, and the statements on it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dbm_core::remote::Answer;
use dbm_core::{BoundParams, Error, Result};
use futures_util::FutureExt as _;
use futures_util::future::{Either, MaybeDone, join, poll_immediate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, RowStream, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::fault;
use crate::prepared::Prepared;
use crate::sql::{Kind, changes_rows, kind, statements, translate};
use crate::value::Parameter;

/// How many statements a connection keeps prepared. All are given up when there are more: which ones are needed again is not
/// known.
const PREPARED: usize = 256;

/// How long a connection that is thrown away may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection. Whoever has it is its only user.
///
/// Requests are answered in the order in which they were sent, so commands that need no answer of their own wait in
/// `unsent`, and are sent with the next statement in one round trip.
pub(crate) struct Conn {
    client: Client,
    tls: MakeRustlsConnect,
    driver: JoinHandle<()>,
    /// Its sender is dropped when the connection has ended.
    end: watch::Receiver<()>,
    /// Why the connection ended.
    ended: Arc<OnceLock<String>>,
    warned: Arc<AtomicBool>,
    /// For errors.
    server: Arc<str>,
    prepared: HashMap<Box<str>, Arc<Prepared>>,
    unsent: String,
    /// An answer is outstanding.
    busy: bool,
    /// A transaction may be open on the server.
    in_transaction: bool,
    /// Something is left in it that only closing it removes.
    has_traces: bool,
    /// Something is set until the transaction ends.
    has_local: bool,
    /// The schema is another one once the transaction is committed.
    changes_schema: bool,
    /// The statements that run are those of a bare connection, which may do anything.
    is_bare: bool,
}

impl Conn {
    /// Drives a new connection, in a task of its own.
    pub(crate) fn drive<S, T>(
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
        tls: MakeRustlsConnect,
        server: Arc<str>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ended, warned) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let (set_ended, set_warned, name) =
            (Arc::clone(&ended), Arc::clone(&warned), Arc::clone(&server));
        let (lives, end) = watch::channel(());
        let driver = tokio::spawn(async move {
            let _lives = lives;
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) if is_doubt(&notice) => {
                        set_warned.store(true, Ordering::Release);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        let _ = set_ended.set(fault::causes(&error));
                        tracing::debug!(server = &*name, "a connection ended");
                        break;
                    }
                    None => break,
                }
            }
        });
        Self {
            client,
            tls,
            driver,
            end,
            ended,
            warned,
            server,
            prepared: HashMap::new(),
            unsent: String::new(),
            busy: false,
            in_transaction: false,
            has_traces: false,
            has_local: false,
            changes_schema: false,
            is_bare: false,
        }
    }

    /// Whether the next user can have it, once an open transaction is rolled back.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.busy && !self.has_traces && !self.client.is_closed()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Waits until the connection has ended.
    pub(crate) fn end(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut end = self.end.clone();
        async move { while end.changed().await.is_ok() {} }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether what runs from here on may begin and end transactions.
    pub(crate) fn set_bare(&mut self, is_bare: bool) {
        self.is_bare = is_bare;
    }

    /// From here on a transaction may be open, also if nobody waits for the answer.
    pub(crate) fn set_in_transaction(&mut self) {
        self.in_transaction = true;
        self.has_local = false;
        self.changes_schema = false;
    }

    /// Whether a statement has changed the schema since the transaction was begun.
    pub(crate) fn changes_schema(&self) -> bool {
        self.changes_schema
    }

    /// Whether another call could go on with the transaction, and find nothing of this one but its rows.
    pub(crate) fn is_shareable(&self) -> bool {
        !self.has_traces && !self.has_local && !self.changes_schema && !self.client.is_closed()
    }

    /// A body may have left anything in it.
    pub(crate) fn set_traces(&mut self) {
        self.has_traces = true;
    }

    /// Has a command sent with the next statement.
    pub(crate) fn push(&mut self, command: &str) {
        self.unsent.push_str(command);
        self.unsent.push(';');
    }

    /// Rolls back without waiting: the next user's statements come behind it.
    pub(crate) fn roll_back_behind(&mut self) {
        self.unsent.clear();
        if std::mem::take(&mut self.in_transaction) {
            // The request is sent by the first poll. Nobody needs its answer.
            let _ = self.client.batch_execute("ROLLBACK").now_or_never();
        }
    }

    /// Sends commands, with those that wait, in one round trip. The rows of the last one that has any.
    pub(crate) async fn command(&mut self, sql: &str) -> Result<Vec<Option<String>>> {
        self.push(sql);
        let sql = std::mem::take(&mut self.unsent);
        self.busy = true;
        let answer = self.client.simple_query(&sql).await;
        self.busy = false;
        let rows = answer.map_err(|error| self.fault(&error))?.into_iter();
        let rows = rows.filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let last = rows.last();
        let columns = last
            .iter()
            .flat_map(|row| (0..row.len()).map(|at| row.get(at)));
        Ok(columns.map(|column| column.map(str::to_owned)).collect())
    }

    /// As [`command`](Self::command), and whether the server has warned meanwhile.
    pub(crate) async fn commit(&mut self, sql: &str) -> (Result<()>, bool) {
        self.warned.store(false, Ordering::Release);
        let answer = self.command(sql).await.map(drop);
        if answer.is_ok() {
            self.in_transaction = false;
        }
        (answer, self.warned.load(Ordering::Acquire))
    }

    pub(crate) async fn run(&mut self, sql: &str, given: &BoundParams) -> Result<Answer> {
        let (prepared, rows) = self.query(sql, given).await?;
        let mut rows = pin!(rows);
        let mut values = Vec::new();
        let read = prepared.read(rows.as_mut(), &mut values, usize::MAX).await;
        self.busy = false;
        read.map_err(|error| self.fault(&error))?.0?;
        let answer = Answer::of_rows(prepared.columns(), values);
        Ok(match rows.rows_affected() {
            Some(changed) if prepared.changes => answer.with_change(changed),
            _ => answer,
        })
    }

    /// Begins a statement. The connection is busy until [`set_idle`](Self::set_idle).
    pub(crate) async fn query(
        &mut self,
        sql: &str,
        given: &BoundParams,
    ) -> Result<(Arc<Prepared>, RowStream)> {
        self.busy = true;
        let begun = self.begin_query(sql, given).await;
        if begun.is_err() {
            self.busy = false;
        }
        begun
    }

    async fn begin_query(
        &mut self,
        sql: &str,
        given: &BoundParams,
    ) -> Result<(Arc<Prepared>, RowStream)> {
        let prepared = self.prepare(sql).await?;
        let parameters = prepared.parameters(given)?;
        let unsent = std::mem::take(&mut self.unsent);
        self.note(prepared.kind);
        let parameters = parameters
            .iter()
            .map(|parameter| parameter as &(dyn ToSql + Sync));
        let query = self.client.query_raw(&prepared.statement, parameters);
        let rows = self.behind(&unsent, query).await?;
        Ok((prepared, rows))
    }

    /// Sends a request right behind the commands that wait.
    async fn behind<T>(
        &self,
        unsent: &str,
        request: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let commands = if unsent.is_empty() {
            Either::Left(std::future::ready(Ok(())))
        } else {
            Either::Right(self.client.batch_execute(unsent))
        };
        // The first is polled first, so it is sent first.
        let (before, answer) = join(commands, request).await;
        before.and(answer).map_err(|error| self.fault(&error))
    }

    async fn prepare(&mut self, sql: &str) -> Result<Arc<Prepared>> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(Arc::clone(known));
        }
        check_text(sql)?;
        let kind = self.check_kind(sql)?;
        let translated = translate(sql)?;
        let unsent = std::mem::take(&mut self.unsent);
        let request = self.client.prepare(&translated.sql);
        let prepared = Arc::new(Prepared {
            statement: self.behind(&unsent, request).await?,
            parameters: translated.names,
            order: translated.order,
            changes: changes_rows(sql),
            kind,
        });
        if self.prepared.len() >= PREPARED {
            self.prepared.clear();
        }
        self.prepared.insert(sql.into(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Refuses what would end the transaction, or outlive it.
    fn check_kind(&self, sql: &str) -> Result<Kind> {
        let kind = kind(sql);
        match kind {
            Kind::TransactionControl if !self.is_bare => Err(Error::Refused {
                what: "transaction control",
                why: "the call itself commits on Ok and rolls back on Err",
            }),
            Kind::Lasting if !self.is_bare => Err(Error::Refused {
                what: "a setting of the connection",
                why: "it would outlive the transaction; use SET LOCAL, or a method with `db: &mut Connection`",
            }),
            Kind::Copy => Err(Error::Refused {
                what: "COPY from or to the program",
                why: "`execute_many` writes many rows, and `stream` reads them",
            }),
            _ => Ok(kind),
        }
    }

    /// What a statement leaves that runs from here on.
    fn note(&mut self, kind: Kind) {
        self.has_traces |= kind == Kind::LeavesTraces;
        self.has_local |= kind == Kind::Local;
        // What the block of a DO does is hidden.
        self.changes_schema |= matches!(kind, Kind::Schema | Kind::LeavesTraces);
    }

    /// Runs several statements. Those of a bare connection are sent one by one: together they would be a transaction.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<()> {
        if sql.contains('\0') {
            check_text(sql)?;
        }
        let statements = statements(sql);
        for range in &statements {
            let kind = self.check_kind(&sql[range.clone()])?;
            self.note(kind);
        }
        // The tables may be others afterwards.
        self.prepared.clear();
        if self.is_bare {
            for range in statements {
                self.command(&sql[range]).await?;
            }
            return Ok(());
        }
        // A comment at the end would swallow what is sent behind it.
        self.command(&format!("{sql}\n")).await.map(drop)
    }

    /// Runs a statement for each row, all of them in one round trip.
    pub(crate) async fn run_many(&mut self, sql: &str, rows: &[BoundParams]) -> Result<u64> {
        self.busy = true;
        let changed = self.send_many(sql, rows).await;
        self.busy = false;
        changed
    }

    async fn send_many(&mut self, sql: &str, rows: &[BoundParams]) -> Result<u64> {
        let prepared = self.prepare(sql).await?;
        self.note(prepared.kind);
        let rows = rows.iter().enumerate();
        let rows = rows.map(|(index, row)| {
            let parameters = prepared.parameters(row);
            parameters.map_err(|error| error.at_row(index))
        });
        // Before the first is sent: nothing is done if one of them does not fit.
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let unsent = std::mem::take(&mut self.unsent);
        let all = async { Ok(self.send_rows(&prepared, &rows).await) };
        let changed = self.behind(&unsent, all).await??;
        Ok(if prepared.changes { changed } else { 0 })
    }

    async fn send_rows(&self, prepared: &Prepared, rows: &[Vec<Parameter<'_>>]) -> Result<u64> {
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            let row = row.iter().map(|parameter| parameter as &(dyn ToSql + Sync));
            let mut answer = Box::pin(self.client.execute_raw(&prepared.statement, row));
            // The request is sent by the first poll.
            answers.push(match poll_immediate(&mut answer).await {
                Some(answer) => MaybeDone::Done(answer),
                None => MaybeDone::Future(answer),
            });
        }
        let mut changed = 0;
        for (index, answer) in answers.into_iter().enumerate() {
            let answer = match answer {
                MaybeDone::Done(answer) => answer,
                MaybeDone::Future(answer) => answer.await,
                MaybeDone::Gone => continue,
            };
            let fault = |error| self.fault(&error).at_row(index);
            changed += answer.map_err(fault)?;
        }
        Ok(changed)
    }

    /// Whether a prepared statement had another result than its table has now. It is prepared anew the next time.
    pub(crate) fn forgets_outdated(&mut self, error: &Error) -> bool {
        let is_outdated = error.server_state() == Some("0A000") && !self.prepared.is_empty();
        if is_outdated {
            self.prepared.clear();
        }
        is_outdated
    }

    /// An error of this connection. If it has ended, the reason was told to the driver.
    pub(crate) fn fault(&self, error: &tokio_postgres::Error) -> Error {
        match self.ended.get() {
            Some(reason) if error.is_closed() => Error::disconnected(&self.server, reason.as_str()),
            _ => fault::of_statement(error, &self.server),
        }
    }

    /// The rows of a stream are read, or nobody wants them any more.
    pub(crate) fn set_idle(&mut self) {
        self.busy = false;
    }

    /// Stops what runs and closes. The server rolls back.
    pub(crate) async fn throw_away(self) {
        let Self {
            client,
            tls,
            mut driver,
            busy,
            ..
        } = self;
        let token = client.cancel_token();
        // Dropped first: the driver then says goodbye as soon as the statement has ended.
        drop(client);
        let end = async {
            if busy {
                let _ = token.cancel_query(tls).await;
            }
            let _ = (&mut driver).await;
        };
        if tokio::time::timeout(LAST_WORDS, end).await.is_err() {
            driver.abort();
        }
    }
}

/// One statement, of which the server is not told before it is known to be one.
fn check_text(sql: &str) -> Result<()> {
    let message = match statements(sql).len() {
        _ if sql.contains('\0') => "contains a NUL character",
        0 => "is empty",
        1 => return Ok(()),
        _ => "has several statements; `execute_batch` runs them",
    };
    Err(Error::SqlText { message })
}

/// A warning during a COMMIT says that the transaction may not be on the standby. One that a trigger has raised does not.
fn is_doubt(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning)
        && notice.routine() != Some("exec_stmt_raise")
}
