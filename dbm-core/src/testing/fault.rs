//! Calls that fail because a test wants them to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::{Ended, Failure, Lease, Site, run_body};
use crate::error::Error;
use crate::manager::DbManager;

/// What happens to a call in the place of its body.
///
/// The call has its lock and its transaction by then, and both end as they would after a failure of the body; the
/// caller gets what the attributes of the method make of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with this error.
    Error(Error),
    /// It fails with [`Error::Timeout`], at once.
    Timeout,
    /// It panics.
    Panic,
    /// It does not return: it keeps its lock until its `timeout` is over or its future is dropped.
    Hang,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Makes the next call of a method on this manager fail. Said again before that call, it holds for the one after it.
///
/// Nested calls count, and so do `get_version` and `update_version`. A name that no method has does nothing.
///
/// ```
/// use dbm_core::prelude::*;
/// use dbm_core::testing::{self, Fault};
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE user (name TEXT) STRICT").await
/// #     }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(false) }
/// # }
///
/// impl Store {
///     #[database_safe]
///     async fn add_user(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
///         db.execute("INSERT INTO user VALUES (?1)", (name,)).await?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// testing::fail_next(&store, "add_user", Error::other("the disk is full"));
/// testing::fail_next(&store, "add_user", Fault::Timeout);
///
/// assert_eq!(store.add_user("Ada").await.unwrap_err().to_string(), "the disk is full");
/// assert!(matches!(store.add_user("Ada").await, Err(Error::Timeout { .. })));
/// assert!(store.add_user("Ada").await.is_ok());
/// # store.close().await }
/// ```
pub fn fail_next<M: DbManager>(manager: &Arc<M>, method: &'static str, fault: impl Into<Fault>) {
    manager.__core().faults().add(method, fault.into());
}

/// The faults that wait for a call, of one manager.
#[derive(Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    waiting: Mutex<VecDeque<(&'static str, Fault)>>,
}

impl Faults {
    fn add(&self, method: &'static str, fault: Fault) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((method, fault));
        self.any.store(true, Ordering::Release);
    }

    /// What is to happen to this call.
    pub(crate) fn next(&self, method: &str) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.iter().position(|(name, _)| *name == method)?;
        let (_, fault) = waiting.remove(place)?;
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Some(fault)
    }
}

impl Fault {
    /// Ends the call in the place of its body.
    pub(crate) async fn strike(self, mut lease: Lease<'_>, site: &'static Site) -> Failure {
        let failure = match self {
            Self::Error(error) => Failure::Error(error),
            Self::Timeout => Failure::Error(Error::Timeout {
                method: site.method,
                limit: site.timeout.unwrap_or_default(),
            }),
            Self::Panic => Failure::Panic(Box::new("a test wanted it to")),
            Self::Hang => match run_body(&lease.frame, site, pending::<Infallible>()).await {
                Ended::TimedOut(error) => Failure::Error(error),
                Ended::Panicked(panic) => Failure::Panic(panic),
                Ended::Returned(never) => match never {},
            },
        };
        let _ = lease.undo(site).await;
        failure
    }
}
