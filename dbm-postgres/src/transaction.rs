//! What one call uses.

use std::pin::Pin;
use std::sync::Arc;

use dbm_core::remote::{Answer, Contents, Promises, RemoteRows, RemoteTransaction, Waiting};
use dbm_core::{BoundParams, Error, Result};
use tokio_postgres::RowStream;

use crate::batch::Batch;
use crate::connection::Conn;
use crate::fault::is_disconnected;
use crate::pool::Lent;
use crate::prepared::Prepared;
use crate::server::{Shared, begin_read};
use crate::turns::Turn;

/// How many bytes of rows are handed over at a time.
const CHUNK: usize = 64 * 1024;

/// What a call holds. A connection is given back before the turn.
pub(crate) enum Hold {
    Read(Lent),
    Write(Box<Batch>),
    Connection(Lent, Turn),
}

pub(crate) struct Transaction {
    shared: Arc<Shared>,
    method: &'static str,
    hold: Option<Hold>,
    /// What the server has refused. Until it is undone, nothing else can follow.
    failed: Option<Error>,
    /// No statement has been sent.
    is_new: bool,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, mut hold: Hold, method: &'static str) -> Self {
        let (conn, is_bare) = match &mut hold {
            Hold::Read(lent) => (lent, false),
            Hold::Write(batch) => (&mut batch.lent, false),
            Hold::Connection(lent, _) => (lent, true),
        };
        conn.set_bare(is_bare);
        Self {
            shared,
            method,
            hold: Some(hold),
            failed: None,
            is_new: true,
        }
    }

    fn lent(&mut self) -> Result<&mut Lent> {
        match &mut self.hold {
            Some(Hold::Read(lent) | Hold::Connection(lent, _)) => Ok(lent),
            Some(Hold::Write(batch)) => Ok(&mut batch.lent),
            None => Err(Error::HandleEnded),
        }
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            Some(cause) => Err(Error::transaction_lost(cause.clone())),
            None => Ok(()),
        }
    }

    /// Remembers what ends a transaction on the server; what this crate itself refuses does not.
    fn judge<T>(&mut self, result: Result<T>) -> Result<T> {
        let is_bare = matches!(self.hold, Some(Hold::Connection(..)));
        let is_read = matches!(self.hold, Some(Hold::Read(_)));
        // A transaction that only reads is meant; that the server is one that writes was seen before.
        let is_write =
            is_read && matches!(&result, Err(error) if error.server_state() == Some("25006"));
        let result = result.map_err(|error| match error {
            _ if is_write => Error::Refused {
                what: "a write",
                why: "this method has `db: &mut ReadTransaction`",
            },
            error => error,
        });
        if let Err(error) = &result
            && !is_bare
            && (error.server_state().is_some() || is_write || is_disconnected(error))
        {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Whether the first request of a read is to be made again: the connection was lost while it was idle, or what was
    /// prepared on it is outdated.
    async fn is_renewed<T: Sync>(&mut self, result: &Result<T>) -> Result<bool> {
        let is_new = std::mem::take(&mut self.is_new);
        let Err(error) = result else { return Ok(false) };
        let shared = Arc::clone(&self.shared);
        let is_read = matches!(self.hold, Some(Hold::Read(_)));
        let lent = self.lent()?;
        let (is_lost, is_outdated) = (is_disconnected(error), lent.forgets_outdated(error));
        if !(is_read && is_new && (is_lost || is_outdated)) {
            return Ok(false);
        }
        if is_outdated {
            lent.roll_back_behind();
            begin_read(lent);
        } else {
            shared.renew_read(lent).await?;
        }
        Ok(true)
    }

    async fn run_one(&mut self, sql: &str, params: &BoundParams) -> Result<Answer> {
        self.check()?;
        let mut answer = self.lent()?.run(sql, params).await;
        if self.is_renewed(&answer).await? {
            answer = self.lent()?.run(sql, params).await;
        }
        self.judge(answer)
    }

    async fn begin_rows(&mut self, sql: &str, params: &BoundParams) -> Result<Rows<'_>> {
        self.check()?;
        let mut begun = self.lent()?.query(sql, params).await;
        if self.is_renewed(&begun).await? {
            begun = self.lent()?.query(sql, params).await;
        }
        let (prepared, rows) = self.judge(begun)?;
        Ok(Rows {
            transaction: self,
            prepared,
            rows: Some(Box::pin(rows)),
        })
    }

    async fn look_around(&mut self) -> Result<Contents> {
        self.check()?;
        let schema = self.shared.pool.connector.settings.schema.clone();
        let writes = matches!(self.hold, Some(Hold::Write(_)));
        let mut found = look(self.lent()?, &schema, writes).await;
        if self.is_renewed(&found).await? {
            found = look(self.lent()?, &schema, writes).await;
        }
        self.judge(found)
    }

    async fn end(mut self: Box<Self>, promises: Promises) -> Result<()> {
        if let Err(error) = self.check() {
            self.give_back();
            return Err(error);
        }
        match self.hold.take() {
            Some(Hold::Write(batch)) => {
                let told = batch.include(self.method, promises);
                let lost = |_| Error::commit_unknown("the runtime was shut down");
                told.await.map_err(lost)?
            }
            Some(Hold::Connection(mut lent, turn)) => {
                let left_open = is_left_open(&mut lent).await;
                self.give_back_connection(lent, turn);
                if left_open? {
                    return Err(Error::TransactionLeftOpen {
                        method: self.method,
                    });
                }
                promises.keep();
                Ok(())
            }
            Some(Hold::Read(_)) | None => Ok(()),
        }
    }

    fn give_back(&mut self) {
        match self.hold.take() {
            Some(Hold::Write(batch)) => batch.leave(self.method),
            Some(Hold::Connection(lent, turn)) => self.give_back_connection(lent, turn),
            Some(Hold::Read(_)) | None => {}
        }
    }

    fn give_back_connection(&self, mut lent: Lent, turn: Turn) {
        if lent.changes_schema() {
            self.shared.set_schema_known(false);
        }
        lent.set_traces();
        drop((lent, turn));
    }
}

/// Whether the body has begun a transaction. In one, time stands still; after an error in one, nothing is answered.
async fn is_left_open(conn: &mut Conn) -> Result<bool> {
    match conn.command("SELECT now() <> statement_timestamp()").await {
        Ok(answer) => Ok(matches!(answer.as_slice(), [Some(is_open)] if is_open == "t")),
        Err(error) if error.server_state() == Some("25P02") => Ok(true),
        Err(error) => Err(error),
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl RemoteTransaction for Transaction {
    fn run<'a>(&'a mut self, sql: &'a str, params: &'a BoundParams) -> Waiting<'a, Answer> {
        Box::pin(self.run_one(sql, params))
    }

    fn run_many<'a>(&'a mut self, sql: &'a str, rows: &'a [BoundParams]) -> Waiting<'a, u64> {
        Box::pin(async move {
            self.check()?;
            let changed = self.lent()?.run_many(sql, rows).await;
            self.judge(changed)
        })
    }

    fn script<'a>(&'a mut self, sql: &'a str) -> Waiting<'a, ()> {
        Box::pin(async move {
            self.check()?;
            let done = self.lent()?.script(sql).await;
            self.judge(done)
        })
    }

    fn stream<'a>(
        &'a mut self,
        sql: &'a str,
        params: &'a BoundParams,
    ) -> Waiting<'a, Box<dyn RemoteRows + 'a>> {
        Box::pin(async move {
            let rows = self.begin_rows(sql, params).await?;
            Ok(Box::new(rows) as Box<dyn RemoteRows>)
        })
    }

    fn savepoint(&mut self, depth: usize) -> Waiting<'_, ()> {
        Box::pin(async move {
            self.check()?;
            self.lent()?.push(&format!("SAVEPOINT _dbm_{depth}"));
            Ok(())
        })
    }

    fn end_savepoint(&mut self, depth: usize, keep: bool) -> Waiting<'_, ()> {
        Box::pin(async move {
            let name = format!("_dbm_{depth}");
            if keep {
                self.check()?;
                self.lent()?.push(&format!("RELEASE {name}"));
            } else {
                self.lent()?
                    .push(&format!("ROLLBACK TO {name}; RELEASE {name}"));
                self.failed = None;
            }
            Ok(())
        })
    }

    fn look(&mut self) -> Waiting<'_, Contents> {
        Box::pin(self.look_around())
    }

    fn commit(self: Box<Self>, promises: Promises) -> Waiting<'static, ()> {
        Box::pin(self.end(promises))
    }

    fn roll_back(mut self: Box<Self>) -> Waiting<'static, ()> {
        self.give_back();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the schema holds. What an extension has brought, and what this library keeps beside the tables, does not count. In a
/// write, the schema itself is made.
async fn look(conn: &mut Conn, schema: &str, writes: bool) -> Result<Contents> {
    let literal = schema.replace('\'', "''");
    let found = conn
        .command(&format!(
            "SELECT to_regnamespace(quote_ident('{literal}')) IS NULL, \
             CASE WHEN relname IS NOT NULL THEN relname = 'version' AND 3 = (SELECT count(*) FROM pg_attribute \
             WHERE attrelid = c.oid AND attname IN ('major', 'minor', 'patch') AND NOT attisdropped) END AS is_version \
             FROM (SELECT) AS one LEFT JOIN pg_class AS c ON relnamespace = to_regnamespace(quote_ident('{literal}')) \
             AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT starts_with(relname, '_dbm_') \
             AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e') \
             ORDER BY is_version NULLS FIRST"
        ))
        .await?;
    let (is_missing, is_version) = match found.as_slice() {
        [is_missing, is_version] => (is_missing.as_deref(), is_version.as_deref()),
        _ => (None, None),
    };
    if writes && is_missing == Some("t") {
        let name = schema.replace('"', "\"\"");
        conn.command(&format!("CREATE SCHEMA IF NOT EXISTS \"{name}\""))
            .await?;
    }
    Ok(match is_version {
        None => Contents::Nothing,
        Some("t") => Contents::Versioned,
        Some(_) => Contents::Foreign,
    })
}

/// The rows of a statement. If they are dropped before the last one, what is left of them is read over.
struct Rows<'a> {
    transaction: &'a mut Transaction,
    prepared: Arc<Prepared>,
    rows: Option<Pin<Box<RowStream>>>,
}

impl Rows<'_> {
    async fn read(&mut self) -> Result<Option<Answer>> {
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        let mut values = Vec::new();
        let read = self.prepared.read(rows.as_mut(), &mut values, CHUNK).await;
        let is_over = !matches!(read, Ok((_, false)));
        let lent = self.transaction.lent()?;
        let read = read.map_err(|error| lent.fault(&error));
        if is_over {
            lent.set_idle();
            self.rows = None;
        }
        let (outcome, _) = self.transaction.judge(read)?;
        outcome?;
        let is_empty = values.is_empty();
        Ok((!is_empty).then(|| Answer::of_rows(self.prepared.columns(), values)))
    }
}

impl RemoteRows for Rows<'_> {
    fn next(&mut self) -> Waiting<'_, Option<Answer>> {
        Box::pin(self.read())
    }
}
