//! The pipeline of a call: arguments, gate, lease, transaction, body, commit or rollback, failure policy. In this
//! order, whatever the order of the attributes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod policies;
mod stages;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::poll_once;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    substitutes: AtomicI64,
    bodies: AtomicUsize,
    fails_to_start: bool,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        if self.fails_to_start {
            return Err(Error::other("no luck"));
        }
        db.execute_batch(
            "CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (parent INTEGER REFERENCES number DEFERRABLE INITIALLY DEFERRED) STRICT",
        )
        .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

fn config() -> Config {
    Config::in_memory()
        .acquire_timeout(Duration::from_millis(200))
        .busy_timeout(Duration::from_millis(50))
}

/// What a user's own error type looks like.
#[derive(Debug, PartialEq)]
enum Trouble {
    Own(i64),
    Database(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What goes wrong in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Own,
    Panic,
    Sql,
    Commit,
    Timeout,
}

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

async fn do_it(db: &mut WriteTransaction, n: i64, fault: Fault) -> Result<i64, Trouble> {
    db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
    match fault {
        Fault::None => Ok(n),
        Fault::Own => Err(Trouble::Own(n)),
        Fault::Panic => panic!("as asked"),
        Fault::Sql => Ok(db.query_one("SELECT x FROM missing", ()).await?),
        Fault::Commit => {
            db.execute("INSERT INTO child VALUES (-1)", ()).await?;
            Ok(n)
        }
        Fault::Timeout => Ok(db.query_one(ENDLESS, ()).await?),
    }
}

impl Store {
    async fn new() -> Arc<Self> {
        Self::create_with(config(), Self::build).await.unwrap()
    }

    fn build(core: ManagerCore) -> Self {
        Self {
            core,
            substitutes: AtomicI64::new(0),
            bodies: AtomicUsize::new(0),
            fails_to_start: false,
        }
    }

    /// Numbers each substitute, so that it can be seen when and how often one was made.
    fn substitute(&self) -> i64 {
        -1 - self.substitutes.fetch_add(1, Ordering::Relaxed)
    }

    #[database_safe(timeout = "100ms")]
    #[required_argument(n, other)]
    async fn plain(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[database_safe(timeout = "100ms")]
    #[required_argument(n, other)]
    #[fail_value(self.substitute())]
    async fn with_value(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[fail_with_exception]
    #[required_argument(n, other)]
    #[database_safe(timeout = "100ms")]
    async fn with_exception(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[required_argument(n, other)]
    #[fail_value((self.substitute(), None))]
    #[database_safe(timeout = "100ms")]
    #[fail_with_exception]
    async fn with_both(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<(i64, Option<Trouble>), Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        Ok((do_it(db, n.unwrap_or_default(), fault).await?, None))
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }
}

/// Polled once: whatever is told then was told without waiting for anybody.
async fn at_once<T>(call: impl Future<Output = T>) -> T {
    match poll_once(&mut Box::pin(call)).await {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
