//! The open write transaction, and the calls whose work is part of it.
//!
//! They run one after the other. Each but the first has a savepoint, so what it does can be undone by itself. All are told
//! once the transaction is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbm_core::remote::Promises;
use dbm_core::{Error, Result};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::fault::is_disconnected;
use crate::pool::Lent;
use crate::server::Shared;
use crate::settings::Writers;
use crate::settle::{Commit, settle};
use crate::turns::Turn;

/// How many calls are part of one transaction at most.
const MOST: usize = 256;

/// How long the first one waits at most for others that join.
const LONGEST: Duration = Duration::from_millis(20);

/// How long the statement of a call that was dropped may go on, if the work of others is in the same transaction: to stop it
/// costs them their work.
const GRACE: Duration = Duration::from_secs(1);

const SAVEPOINT: &str = "_dbm_member";

pub(crate) struct Batch {
    // Given back in this order: the connection first, then the turn.
    pub(crate) lent: Lent,
    /// None where writers run side by side.
    pub(crate) turn: Option<Turn>,
    shared: Arc<Shared>,
    members: Arc<Members>,
    /// Tells the members if the server ends the transaction while another call has it, which is in a savepoint.
    watch: Option<AbortHandle>,
    begun: Instant,
}

/// Those whose work is done. Whoever takes them out is the one to tell them.
#[derive(Default)]
struct Members(Mutex<Vec<Member>>);

impl Members {
    fn list(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Member> {
        std::mem::take(&mut *self.list())
    }
}

struct Member {
    method: &'static str,
    promises: Promises,
    outcome: oneshot::Sender<Result<()>>,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>, lent: Lent, turn: Option<Turn>) -> Self {
        Self {
            lent,
            turn,
            shared,
            members: Arc::default(),
            watch: None,
            begun: Instant::now(),
        }
    }

    /// Another call goes on with the transaction.
    pub(crate) fn join(&mut self, method: &'static str) {
        // A body may wait for anything. The server does not wait as long as that.
        let (end, members) = (self.lent.end(), Arc::clone(&self.members));
        let watch = self.shared.pool.spawn(async move {
            end.await;
            tell(members.take(), &Err(Error::BatchLost { by: method }));
        });
        self.watch = Some(watch.abort_handle());
        self.lent.push(&format!("SAVEPOINT {SAVEPOINT}"));
    }

    /// Makes the work of the call part of what is committed. The receiver is told how that ends.
    pub(crate) fn include(
        mut self: Box<Self>,
        method: &'static str,
        promises: Promises,
    ) -> oneshot::Receiver<Result<()>> {
        let (outcome, told) = oneshot::channel();
        let has_joined = self.stop_watch();
        self.members.list().push(Member {
            method,
            promises,
            outcome,
        });
        if has_joined {
            self.lent.push(&format!("RELEASE {SAVEPOINT}"));
        }
        self.go_on();
        told
    }

    /// Undoes the work of the call that runs, and nothing else.
    pub(crate) fn leave(mut self: Box<Self>, method: &'static str) {
        self.stop_watch();
        if self.members.list().is_empty() || self.lent.is_closed() {
            return tell(self.members.take(), &Err(Error::BatchLost { by: method }));
        }
        let undo = format!("ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}");
        if !self.lent.is_busy() {
            self.lent.push(&undo);
            return self.go_on();
        }
        let shared = Arc::clone(&self.shared);
        shared.pool.spawn(async move {
            match timeout(GRACE, self.lent.command(&undo)).await {
                Ok(Ok(_)) => self.go_on(),
                Ok(Err(_)) | Err(_) => {
                    tell(self.members.take(), &Err(Error::BatchLost { by: method }));
                }
            }
        });
    }

    /// Lets the next call join, or commits.
    fn go_on(self: Box<Self>) {
        let has_room = self.members.list().len() < MOST && self.begun.elapsed() < LONGEST;
        let rest = if self.shared.shares() && has_room && self.lent.is_shareable() {
            Turn::hand_over(self)
        } else {
            Some(self)
        };
        if let Some(batch) = rest {
            let shared = Arc::clone(&batch.shared);
            shared.pool.spawn(batch.commit());
        }
    }

    /// Commits, in a task of its own: what was sent cannot be taken back.
    async fn commit(mut self: Box<Self>) {
        let members = self.members.take();
        let commit = Commit {
            identity: Arc::clone(&self.lent.identity),
            number: self.shared.next_number(),
        };
        let sql = self.shared.commit_sql(&commit);
        let limit = self.shared.pool.connector.settings.patience;
        let (answer, warned) = match timeout(limit, self.lent.commit(&sql)).await {
            Ok(answered) => answered,
            Err(_) => {
                let late = "COMMIT was not answered in time";
                (
                    Err(Error::disconnected(&self.shared.pool.connector.name, late)),
                    false,
                )
            }
        };
        let outcome = match answer {
            Ok(()) if !warned => Ok(()),
            Ok(()) => {
                let doubt = "the server has committed, and warns that its standby may not have it";
                settle(&self.shared, &commit, Error::other(doubt)).await
            }
            Err(error) if is_disconnected(&error) => settle(&self.shared, &commit, error).await,
            Err(error) => Err(error),
        };
        // Only those who share have to know what can be deferred now.
        let is_outdated = self.lent.changes_schema() && self.shared.writers() == Writers::Sharing;
        self.shared
            .set_schema_known(outcome.is_ok() && !is_outdated);
        tell(members, &outcome);
    }

    /// True if the call that runs has joined.
    fn stop_watch(&mut self) -> bool {
        let watch = self.watch.take();
        watch.map(|watch| watch.abort()).is_some()
    }
}

/// Tells members, in the order in which they joined, before the next transaction can commit.
fn tell(members: Vec<Member>, outcome: &Result<()>) {
    let last = members.last().map(|member| member.method);
    let others = members.len().saturating_sub(1);
    for (place, member) in members.into_iter().enumerate() {
        let told = match outcome {
            Ok(()) => {
                member.promises.keep();
                Ok(())
            }
            // What the server refuses at COMMIT is told to the call that committed; the others can try again.
            Err(Error::Server { .. }) if place < others => Err(Error::BatchLost {
                by: last.unwrap_or(member.method),
            }),
            Err(error) => Err(error.clone()),
        };
        let _ = member.outcome.send(told);
    }
}

/// A transaction on its way to the call that goes on with it. If that has gone meanwhile, it goes on without it.
pub(crate) struct Handed(Option<Box<Batch>>);

impl Handed {
    pub(crate) fn new(batch: Box<Batch>) -> Self {
        Self(Some(batch))
    }

    pub(crate) fn take(mut self) -> Option<Box<Batch>> {
        self.0.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            batch.go_on();
        }
    }
}
