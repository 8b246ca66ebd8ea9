//! A call that turns out to be exclusive while it shares a batch.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::latency::RunOn;
use super::shell::{Scheduler, Writer};
use crate::engine::session::{HasSession, LostOnDrop, Session};
use crate::error::{Error, Result};

impl Writer {
    /// Runs before a statement that cannot share a transaction: commits the work of the other members and begins a new
    /// transaction. If the call has done work of its own, it fails with `BatchLost`. The caller can repeat it, and it
    /// is exclusive then.
    pub(crate) async fn become_exclusive(
        self: &Arc<Self>,
        shared: &Arc<impl HasSession>,
        depth: usize,
    ) -> Result<()> {
        let session = shared.session();
        session.set_exclusive();
        if !session.is_shared() {
            return Ok(());
        }
        if session.has_begun() || depth > 0 {
            return Err(Error::BatchLost { by: session.method });
        }
        // Dropped on the way, the call may be without a transaction.
        let unknown = LostOnDrop(Some(session));
        let (sender, receiver) = oneshot::channel();
        let (writer, leaving) = (Arc::clone(self), Arc::clone(shared));
        self.conn.post_or_run(
            move || writer.commit_for_others(leaving.session()),
            |result| drop(sender.send(result)),
        );
        let left = receiver.await.unwrap_or(Err(Error::HandleEnded));
        let begun = match left {
            Ok(()) => Session::begin_write(shared).await,
            Err(error) => Err(error),
        };
        unknown.disarm();
        begun
    }

    /// Commits the work of the other members, while this call goes on.
    fn commit_for_others(&self, session: &Session) -> Result<()> {
        let followers = {
            let mut slot = self.conn.lock();
            match slot.owned_by(session.id) {
                Ok(db) => db.release(0)?,
                Err(error) => return Err(session.lost_or(error)),
            }
            // Under the slot's lock: an eviction takes the connection there first.
            self.note(Scheduler::take_batch)
        };
        if let Some(followers) = followers {
            let (finished, restart_log) =
                self.commit_and_tell(session.id, followers, RunOn::WorkerThread);
            if restart_log {
                self.note(Scheduler::want_log_restart);
            }
            drop(finished);
        }
        session.set_shared(false);
        session.take(&mut session.conn.lock())
    }
}
