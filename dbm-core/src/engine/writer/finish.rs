//! How a call whose work is part of the open transaction ends: it commits, leads, or waits for the commit of another
//! call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::latency::RunOn;
use super::policy::POLICY;
use super::scheduler::{CallId, Finished, Looked};
use super::shell::{LibraryPermit, Writer, WriterPermit};
use crate::engine::commit_outcome::{CommitOutcome, Followers};
use crate::engine::connection::OwnerId;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::unique_id::next_id;
use crate::waking::contained;

impl Writer {
    /// Ends a call whose work is part of the open transaction (or was undone in it), and waits until that transaction is
    /// committed.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        permit: WriterPermit<'_>,
        session: &Session,
    ) -> Result<()> {
        match self.try_finish(permit, session).await {
            // The connection was closed before the commit: nothing of the transaction is left.
            Err(Error::HandleEnded) if self.is_closed() => Err(Error::Closed {
                method: session.method,
            }),
            result => result,
        }
    }

    async fn try_finish(
        self: &Arc<Self>,
        permit: WriterPermit<'_>,
        session: &Session,
    ) -> Result<()> {
        let (id, exclusive) = (permit.id, permit.exclusive);
        // Whatever the answer is, the call no longer has the writer.
        permit.disarm();
        let finished =
            self.step(|scheduler, effects| scheduler.finish(id, exclusive, Instant::now, effects));
        match finished {
            Finished::Commit(followers) => self.commit(id, followers).await,
            Finished::Lead(outcome) => Box::pin(self.lead(id, &outcome)).await,
            Finished::Wait(outcome) => self.wait_for(&outcome).await,
            Finished::Lost => Err(Error::HandleEnded),
            // The other members went on without it. If its work was included, it was committed all the same.
            Finished::NotHeld => {
                let outcome = session.take_late_answer().ok_or(Error::HandleEnded)?;
                self.wait_for(&outcome).await
            }
        }
    }

    async fn lead(self: &Arc<Self>, id: CallId, outcome: &CommitOutcome) -> Result<()> {
        let leader = Leader { writer: self, id };
        match leader.gather().await {
            Some(followers) => {
                let owner = next_id();
                let _ = self.conn.lock().give_to(owner);
                self.commit(owner, followers).await
            }
            None => {
                self.stay_awake_for(outcome).await;
                self.wait_for(outcome).await
            }
        }
    }

    /// Commits the open transaction, where the task is or on the worker thread, and then passes the writer on. The
    /// library holds the writer since an event has answered `Commit`.
    async fn commit(self: &Arc<Self>, owner: OwnerId, followers: Followers) -> Result<()> {
        let here = self.committer.run_on() == RunOn::Task && !self.conn.has_pending();
        if here || !self.conn.has_worker() {
            let mut permit = LibraryPermit::of_task(Cow::Borrowed(self));
            let finished = permit.commit(owner, followers, RunOn::Task);
            let result = finished.result.clone();
            // The next call starts before the members are told.
            drop(permit);
            drop(finished);
            return result;
        }
        let permit = LibraryPermit::of_task(Cow::Owned(Arc::clone(self)));
        Box::pin(self.commit_on_thread(permit, owner, followers)).await
    }

    async fn commit_on_thread(
        self: &Arc<Self>,
        mut permit: LibraryPermit<'static>,
        owner: OwnerId,
        followers: Followers,
    ) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let writer = Arc::clone(self);
        let commit = move || {
            let finished = permit.commit(owner, followers, RunOn::WorkerThread);
            (finished, permit)
        };
        self.conn.post(commit, move |(finished, permit)| {
            let result = finished.result.clone();
            let mut tells_here = false;
            if finished.has_followers() {
                // The committer's task wakes the followers: waking all of them from this thread costs a third. That task
                // may be kept from running, so the watchdog checks too.
                writer.tell_later(finished);
                tells_here = !writer.is_watched();
            }
            // First, because what follows runs code of others. This thread tells the followers if the task is gone.
            let mut sent = false;
            contained(|| sent = sender.send(result).is_ok());
            tells_here |= !sent;
            drop(permit);
            if tells_here {
                writer.tell_finished();
            }
        })?;
        let result = receiver.await;
        self.tell_finished();
        result.unwrap_or(Err(Error::HandleEnded))
    }

    /// Keeps the thread looking for tasks while another call makes a quick commit: waking the thread would take as long again.
    async fn stay_awake_for(&self, outcome: &CommitOutcome) {
        if self.committer.latency.typical() > POLICY.stay_awake_for {
            return;
        }
        let started = Instant::now();
        while !outcome.is_told() && started.elapsed() < POLICY.stay_awake_for {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn wait_for(self: &Arc<Self>, outcome: &CommitOutcome) -> Result<()> {
        self.watched(outcome.told()).await
    }
}

/// The promise to commit a batch that is open for joiners. If it is dropped, the worker thread commits.
struct Leader<'a> {
    writer: &'a Arc<Writer>,
    id: CallId,
}

impl Leader<'_> {
    /// Lets other tasks run: calls that were just told of a commit together are likely to call again. If none of them
    /// comes, it waits for as long as one more commit would take. `None` if the batch is committed elsewhere.
    async fn gather(&self) -> Option<Followers> {
        let limit = self.writer.committer.latency.typical().min(POLICY.max_age);
        let (mut members, mut since) = (0, Instant::now());
        let mut looked = since;
        loop {
            tokio::task::yield_now().await;
            if looked.elapsed() < POLICY.look_every {
                continue;
            }
            looked = Instant::now();
            let waited_enough = looked - since >= limit;
            let answer = self
                .writer
                .note(|scheduler| scheduler.look(self.id, members, waited_enough, Instant::now));
            match answer {
                Looked::Keep { members: now } if now != members => {
                    (members, since) = (now, looked);
                }
                Looked::Keep { .. } => {}
                Looked::Commit(followers) => return Some(followers),
                Looked::Relieved => return None,
            }
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.writer.step(|scheduler, effects| {
            scheduler.leader_gone(self.id, Instant::now, effects);
        });
    }
}
