//! One call's use of a server: its transaction, and what has become of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::sync::MutexGuard;

use super::{Server, Slot};
use crate::access::Access;
use crate::after_commit::Ticket;
use crate::error::{Error, Result};
use crate::params::BoundParams;
use crate::remote::{Answer, Contents, RemoteTransaction};
use crate::sync::lock;

pub(crate) struct ServerSession {
    pub(crate) server: Arc<Server>,
    pub(crate) access: Access,
    pub(crate) method: &'static str,
    transaction: Arc<Slot>,
    /// The depth of a savepoint whose nested call was dropped. What was done since is undone before anything else; 0 if there
    /// is none.
    left: AtomicUsize,
    lost: OnceLock<Error>,
    /// The newest error of a statement, for the span of a call whose body passes it on.
    failure: Mutex<Option<Error>>,
    promises: Mutex<Vec<Ticket>>,
}

/// A transaction that is being used.
pub(crate) struct Open<'a>(MutexGuard<'a, Option<Box<dyn RemoteTransaction>>>);

impl Open<'_> {
    pub(crate) fn get(&mut self) -> Result<&mut dyn RemoteTransaction> {
        match &mut *self.0 {
            Some(transaction) => Ok(&mut **transaction),
            None => Err(Error::HandleEnded),
        }
    }
}

impl ServerSession {
    pub(super) fn new(
        server: Arc<Server>,
        access: Access,
        method: &'static str,
        transaction: Box<dyn RemoteTransaction>,
    ) -> Self {
        Self {
            server,
            access,
            method,
            transaction: Arc::new(Slot::new(Some(transaction))),
            left: AtomicUsize::new(0),
            lost: OnceLock::new(),
            failure: Mutex::default(),
            promises: Mutex::default(),
        }
    }

    pub(super) fn slot(&self) -> Weak<Slot> {
        Arc::downgrade(&self.transaction)
    }

    /// Fails if the session is over.
    pub(crate) fn check(&self) -> Result<()> {
        match self.lost.get() {
            Some(error) => Err(error.clone()),
            None if self.server.is_shut() => Err(Error::Closed {
                method: self.method,
            }),
            None => Ok(()),
        }
    }

    /// Ends the session for its body: every later statement fails with this error.
    pub(crate) fn lose(&self, error: Error) {
        let _ = self.lost.set(error);
    }

    /// The transaction, for one use after the other. If the future of a use is dropped, the session is to be
    /// [lost](Self::lose).
    pub(crate) async fn open(&self) -> Result<Open<'_>> {
        self.check()?;
        let mut open = Open(self.transaction.lock().await);
        self.undo_left(open.get()?).await?;
        Ok(open)
    }

    /// Takes the transaction, for its end. `None` if it was taken before, or a statement has it that was leaked.
    pub(crate) fn take(&self) -> Option<Box<dyn RemoteTransaction>> {
        self.transaction.try_lock().ok()?.take()
    }

    /// Undoes what a nested call has left.
    pub(crate) async fn undo_left(&self, transaction: &mut dyn RemoteTransaction) -> Result<()> {
        match self.left.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            depth => transaction.end_savepoint(depth, false).await,
        }
    }

    /// A nested call of this depth was dropped.
    pub(crate) fn leave(&self, depth: usize) {
        // Those inside it were dropped before.
        self.left.store(depth, Ordering::Relaxed);
    }

    pub(crate) async fn unless_shut<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.server.unless_shut(self.method, work).await
    }

    pub(crate) async fn run(&self, sql: &str, params: &BoundParams) -> Result<Answer> {
        self.unless_shut(async { self.open().await?.get()?.run(sql, params).await })
            .await
    }

    pub(crate) async fn run_many(&self, sql: &str, rows: &[BoundParams]) -> Result<u64> {
        self.unless_shut(async { self.open().await?.get()?.run_many(sql, rows).await })
            .await
    }

    pub(crate) async fn script(&self, sql: &str) -> Result<()> {
        self.unless_shut(async { self.open().await?.get()?.script(sql).await })
            .await
    }

    pub(crate) async fn look(&self) -> Result<Contents> {
        self.unless_shut(async { self.open().await?.get()?.look().await })
            .await
    }

    pub(crate) async fn savepoint(&self, depth: usize) -> Result<()> {
        self.unless_shut(async { self.open().await?.get()?.savepoint(depth).await })
            .await
    }

    /// Ends a savepoint. What cannot be kept is undone.
    pub(crate) async fn end_savepoint(&self, depth: usize, keep: bool) -> Result<()> {
        let ended = self
            .unless_shut(async {
                let mut open = self.open().await?;
                let transaction = open.get()?;
                if !keep {
                    return transaction.end_savepoint(depth, false).await.map(Ok);
                }
                match transaction.end_savepoint(depth, true).await {
                    Ok(()) => Ok(Ok(())),
                    // A statement has failed, and the body went on all the same.
                    Err(error) => transaction
                        .end_savepoint(depth, false)
                        .await
                        .map(|()| Err(error)),
                }
            })
            .await;
        match ended {
            Ok(kept) => kept.map_err(|error| Error::TransactionLost {
                cause: error.cause(),
            }),
            Err(error) => {
                // What the inner call did can be neither kept nor undone alone.
                self.lose(Error::transaction_lost(error.clone()));
                Err(error)
            }
        }
    }

    pub(crate) fn set_failure(&self, error: &Error) {
        let older = lock(&self.failure).replace(error.clone());
        drop(older);
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    pub(crate) fn promise(&self, ticket: Ticket) {
        lock(&self.promises).push(ticket);
    }

    /// How many promises there are: the mark to which a savepoint goes back.
    pub(crate) fn promised(&self) -> usize {
        lock(&self.promises).len()
    }

    /// Takes what was promised after `mark`.
    pub(crate) fn take_promises(&self, mark: usize) -> Vec<Ticket> {
        let mut promises = lock(&self.promises);
        let mark = mark.min(promises.len());
        promises.split_off(mark)
    }
}
