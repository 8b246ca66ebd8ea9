//! How a call whose work is part of the open transaction ends: it commits, leads, or waits for the commit of another
//! call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::latency::RunOn;
use super::policy::POLICY;
use super::scheduler::{CallId, Finished, Looked};
use super::shell::{LibraryPermit, Scheduler, Writer, WriterPermit};
use crate::engine::commit_outcome::{CommitOutcome, Followers};
use crate::engine::connection::OwnerId;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::tables::Tables;
use crate::unique_id::next_id;
use crate::waking::contained;

impl Writer {
    /// Whether the only statement of a call that is alone may commit by itself.
    pub(crate) fn allows_autocommit(&self) -> bool {
        self.committer.allows_autocommit()
    }

    /// Ends a call whose work is part of the open transaction (or was undone in it), and waits until that transaction is
    /// committed.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        permit: WriterPermit<'_>,
        session: &Session,
    ) -> Result<()> {
        let (id, exclusive) = (permit.id, permit.exclusive);
        // Whatever the answer is, the call no longer has the writer.
        permit.disarm();
        let finished =
            self.step(|scheduler, effects| scheduler.finish(id, exclusive, Instant::now, effects));
        let mine = match finished {
            Finished::Commit(followers) => Ok((id, followers)),
            Finished::Lead(outcome) => Box::pin(self.lead(id, &outcome)).await.ok_or(Some(outcome)),
            Finished::Wait(outcome) => Err(Some(outcome)),
            Finished::Lost => Err(None),
            // The other members went on without it. If its work was included, it was committed all the same.
            Finished::NotHeld => Err(session.take_late_answer()),
        };
        let result = match mine {
            Ok((owner, followers)) => match self.commit_here(owner, followers) {
                Ok(result) => result,
                Err(followers) => Box::pin(self.commit_on_thread(owner, followers)).await,
            },
            Err(Some(outcome)) => self.wait_for(&outcome).await,
            Err(None) => Err(Error::HandleEnded),
        };
        match result {
            // The connection was closed before the commit: nothing of the transaction is left.
            Err(Error::HandleEnded) if self.is_closed() => Err(Error::Closed {
                method: session.method,
            }),
            result => result,
        }
    }

    /// Ends a call whose statement has committed by itself: gives the connection back, and has everything done that follows a
    /// commit. Only for who has the writer, as [`commit_and_tell`](Self::commit_and_tell).
    pub(crate) fn finish_autocommit(&self, session: &Session) {
        if session.is_tainted() {
            self.spoil();
        }
        if !session.give_back_unused() {
            session.give_connection_back();
        }
        let committed = session.autocommit();
        let restart_log = self.committer.note_autocommit(committed.as_ref());
        if committed.is_some() {
            session.keep_promises();
        }
        // It runs only while nothing is recorded.
        self.tell_live_reads(|| Tables::All);
        if restart_log {
            self.note(Scheduler::want_log_restart);
        }
    }

    /// Waits for joiners. `None` if another call, or the library, commits.
    async fn lead(
        self: &Arc<Self>,
        id: CallId,
        outcome: &CommitOutcome,
    ) -> Option<(OwnerId, Followers)> {
        let leader = Leader { writer: self, id };
        let Some(followers) = leader.gather().await else {
            self.stay_awake_for(outcome).await;
            return None;
        };
        let owner = next_id();
        let _ = self.conn.lock().give_to(owner);
        Some((owner, followers))
    }

    /// Commits the open transaction where the task is, if that takes no more than a moment, and then passes the writer on.
    /// The library holds the writer since an event has answered `Commit`.
    fn commit_here(
        self: &Arc<Self>,
        owner: OwnerId,
        followers: Followers,
    ) -> Result<Result<()>, Followers> {
        let is_quick = self.committer.run_on() == RunOn::Task && !self.conn.has_pending();
        if !is_quick && self.conn.has_worker() {
            return Err(followers);
        }
        let mut permit = LibraryPermit::of_task(Cow::Borrowed(self));
        let finished = permit.commit(owner, followers, RunOn::Task);
        let result = finished.result.clone();
        // The next call starts before the members are told.
        drop(permit);
        drop(finished);
        Ok(result)
    }

    /// The same, on the worker thread.
    async fn commit_on_thread(
        self: &Arc<Self>,
        owner: OwnerId,
        followers: Followers,
    ) -> Result<()> {
        let mut permit = LibraryPermit::of_task(Cow::Owned(Arc::clone(self)));
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
