//! The database of a running manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use dbm_core::remote::{Access, Limits, Remote, RemoteTransaction, Waiting};
use dbm_core::{Error, Result};
use tokio::time::{Instant, timeout_at};

use crate::batch::Batch;
use crate::connect::Connector;
use crate::fault::is_disconnected;
use crate::pool::{Lent, Pool};
use crate::settings::{Settings, Writers};
use crate::settle::{Commit, own_lock};
use crate::transaction::{Hold, Transaction};
use crate::turns::{Place, Turns};

/// The first half of the keys of the locks that this crate takes, for those who look at `pg_locks`: "dbm".
const LOCKS: i32 = 0x0064_626D;

/// How much longer than a wait for a lock its answer may take.
const ANSWER: Duration = Duration::from_secs(1);

pub(crate) struct Server(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    limits: Limits,
    turns: Arc<Turns>,
    number: AtomicI64,
    /// The lock of all writers.
    lock_key: String,
    /// The next two are true of the schema as it is now.
    schema_known: AtomicBool,
    /// A constraint can be deferred.
    defers: AtomicBool,
    /// The table of commits is missing.
    lacks_table: AtomicBool,
}

impl Server {
    /// Connects, twice: a pooler that shares server processes gives the same one to both.
    pub(crate) async fn connect(settings: Settings, limits: Limits) -> Result<Self> {
        let deadline = Instant::now() + limits.acquire_timeout;
        let connector = Connector::new(settings, limits.acquire_timeout)?;
        let (first, process) = connector.connect(deadline).await?;
        let (second, other) = connector.connect(deadline).await?;
        if process.process == other.process {
            return Err(connector.pooled());
        }
        let schema = connector.settings.schema.replace('\'', "''");
        let pool = Pool::new(connector);
        pool.add(first, process);
        pool.add(second, other);
        Ok(Self(Arc::new(Shared {
            pool,
            limits,
            turns: Turns::new(),
            number: AtomicI64::new(0),
            lock_key: format!("{LOCKS}, hashtext('{schema}')"),
            schema_known: AtomicBool::new(false),
            defers: AtomicBool::new(false),
            lacks_table: AtomicBool::new(true),
        })))
    }
}

impl Shared {
    pub(crate) fn next_number(&self) -> i64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn writers(&self) -> Writers {
        self.pool.connector.settings.writers
    }

    /// Whether calls share transactions. With constraints that fail only at COMMIT, one would take the others' work with it.
    pub(crate) fn shares(&self) -> bool {
        self.writers() == Writers::Sharing && !self.defers.load(Ordering::Relaxed)
    }

    /// Whether what is known of the schema is true. It is asked for again with the next transaction if not.
    pub(crate) fn set_schema_known(&self, known: bool) {
        if known {
            self.lacks_table.store(false, Ordering::Relaxed);
        }
        self.schema_known.store(known, Ordering::Relaxed);
    }

    fn is_schema_known(&self) -> bool {
        self.schema_known.load(Ordering::Relaxed)
    }

    /// Commits, and leaves the number by which it can be found.
    pub(crate) fn commit_sql(&self, commit: &Commit) -> String {
        let table = if self.lacks_table.load(Ordering::Relaxed) {
            "CREATE TABLE _dbm_commit (connection uuid PRIMARY KEY, number bigint NOT NULL, at timestamptz NOT NULL); "
        } else if self.is_schema_known() {
            ""
        } else {
            "DELETE FROM _dbm_commit WHERE at < now() - interval '7 days'; "
        };
        let (id, number) = (&commit.identity.id, commit.number);
        format!(
            "{table}INSERT INTO _dbm_commit VALUES ('{id}', {number}, now()) \
             ON CONFLICT (connection) DO UPDATE SET number = excluded.number, at = excluded.at; COMMIT"
        )
    }

    fn too_late(&self, method: &'static str, began: Instant, holder: &'static str) -> Error {
        Error::AcquireTimeout {
            method,
            waited: began.elapsed(),
            holder,
            held: began.elapsed(),
            queued: 0,
        }
    }

    async fn begin(
        self: &Arc<Self>,
        access: Access,
        method: &'static str,
    ) -> Result<Box<dyn RemoteTransaction>> {
        let began = Instant::now();
        let deadline = began + self.limits.acquire_timeout;
        let turn = if access == Access::Read || self.writes_side_by_side(access) {
            None
        } else {
            let joins = access == Access::Write && self.shares();
            match self
                .turns
                .acquire(method, joins, &self.limits, deadline)
                .await?
            {
                Place::Turn(turn) => Some(turn),
                Place::Batch(handed) => {
                    let mut batch = handed.take().ok_or(Error::HandleEnded)?;
                    batch.join(method);
                    return Ok(self.transaction(Hold::Write(batch), method));
                }
            }
        };
        let Some(permit) = self.pool.permit(deadline).await else {
            return Err(self.too_late(method, began, "all connections"));
        };
        let mut lent = self.pool.connection(permit, deadline).await?;
        if access == Access::Read {
            begin_read(&mut lent);
            return Ok(self.transaction(Hold::Read(lent), method));
        }
        loop {
            match self.open(&mut lent, access, method, began).await {
                Ok(()) => break,
                // Nothing has happened yet: the connection was lost while it was idle, or the server goes away.
                Err(error) if is_disconnected(&error) && Instant::now() < deadline => {
                    lent.renew(deadline).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let hold = match (access, turn) {
            (Access::Connection, Some(turn)) => Hold::Connection(lent, turn),
            (_, turn) => Hold::Write(Box::new(Batch::new(Arc::clone(self), lent, turn))),
        };
        Ok(self.transaction(hold, method))
    }

    /// A read begins again, with another connection.
    pub(crate) async fn renew_read(&self, lent: &mut Lent) -> Result<()> {
        lent.renew(Instant::now() + self.limits.acquire_timeout)
            .await?;
        begin_read(lent);
        Ok(())
    }

    fn writes_side_by_side(&self, access: Access) -> bool {
        access == Access::Write && self.writers() == Writers::Serializable
    }

    fn transaction(
        self: &Arc<Self>,
        hold: Hold,
        method: &'static str,
    ) -> Box<dyn RemoteTransaction> {
        Box::new(Transaction::new(Arc::clone(self), hold, method))
    }

    /// Begins a transaction and waits for the lock, in one round trip; or makes sure that a bare connection is alive.
    async fn open(
        &self,
        lent: &mut Lent,
        access: Access,
        method: &'static str,
        began: Instant,
    ) -> Result<()> {
        let deadline = began + self.limits.acquire_timeout;
        let opened = timeout_at(deadline + ANSWER, self.send_begin(lent, access, deadline));
        let Ok(answer) = opened.await else {
            let late = "the server does not answer in time";
            return Err(Error::disconnected(&self.pool.connector.name, late));
        };
        let answer = answer.map_err(|error| match error.server_state() {
            // lock_not_available
            Some("55P03") => self.too_late(method, began, "another process"),
            _ => error,
        })?;
        match answer.as_slice() {
            [Some(defers), Some(lacks_table), Some(process)]
                if *process == lent.identity.process =>
            {
                if access == Access::Write && !self.is_schema_known() {
                    self.defers.store(defers == "t", Ordering::Relaxed);
                    self.lacks_table
                        .store(lacks_table == "t", Ordering::Relaxed);
                }
                Ok(())
            }
            _ => Err(self.pool.connector.pooled()),
        }
    }

    /// READ COMMITTED where writers take turns, because the snapshot of any other level may be older than the lock.
    async fn send_begin(
        &self,
        lent: &mut Lent,
        access: Access,
        deadline: Instant,
    ) -> Result<Vec<Option<String>>> {
        if access == Access::Connection {
            return lent.command("SELECT false, false, pg_backend_pid()").await;
        }
        // From here on, a transaction that is being begun has to be rolled back, too.
        lent.set_in_transaction();
        let wait = deadline.saturating_duration_since(Instant::now());
        let wait = wait.as_millis().max(1);
        let own_lock = own_lock(&lent.identity.id);
        let key = &self.lock_key;
        let known = self.is_schema_known();
        let schema = if known {
            "false, false"
        } else {
            "EXISTS (SELECT FROM pg_constraint WHERE condeferrable AND connamespace = to_regnamespace(quote_ident(current_schema()))), \
             to_regclass('_dbm_commit') IS NULL"
        };
        let begin = if self.writers() == Writers::Serializable {
            if !known {
                // Tables may be made. The lock comes before the snapshot, so it is one of the session, and ends with it.
                lent.set_traces();
                lent.command(&format!(
                    "SET lock_timeout TO {wait}; SELECT pg_advisory_lock({key}); SET lock_timeout TO DEFAULT"
                ))
                .await?;
            }
            "BEGIN ISOLATION LEVEL SERIALIZABLE".to_owned()
        } else {
            format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout TO {wait}; \
                 SELECT pg_advisory_xact_lock({key}); SET LOCAL lock_timeout TO DEFAULT"
            )
        };
        lent.command(&format!(
            "{begin}; {own_lock}; SELECT {schema}, pg_backend_pid()"
        ))
        .await
    }
}

/// Sent with the first statement.
pub(crate) fn begin_read(lent: &mut Lent) {
    lent.set_in_transaction();
    lent.push("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
}

impl Remote for Server {
    fn version_table(&self) -> &'static str {
        "CREATE TABLE Version (major bigint NOT NULL, minor bigint NOT NULL, patch bigint NOT NULL, \
         PRIMARY KEY (major, minor, patch))"
    }

    fn begin<'a>(
        &'a self,
        access: Access,
        method: &'static str,
    ) -> Waiting<'a, Box<dyn RemoteTransaction>> {
        Box::pin(self.0.begin(access, method))
    }

    fn mark(&self) -> Waiting<'_, String> {
        Box::pin(async {
            let (began, method) = (Instant::now(), "look for commits");
            let deadline = began + self.0.limits.acquire_timeout;
            let Some(permit) = self.0.pool.permit(deadline).await else {
                return Err(self.0.too_late(method, began, "all connections"));
            };
            let mut lent = self.0.pool.connection(permit, deadline).await?;
            // Which transactions have ended, and which run: one that commits is in another snapshot from then on.
            let answer = lent.command("SELECT pg_current_snapshot()").await?;
            match answer.into_iter().next() {
                Some(Some(mark)) => Ok(mark),
                _ => Err(Error::NoRows),
            }
        })
    }

    fn close(&self) -> Waiting<'_, ()> {
        Box::pin(async {
            self.0.pool.close().await;
            Ok(())
        })
    }
}
