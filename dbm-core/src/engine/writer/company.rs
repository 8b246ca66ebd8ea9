//! A transaction that waits for more calls: those that were just answered together are about to call again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Writer;
use super::commit::MAX_AGE;
use super::ending::Members;
use super::queue::{NOBODY, State, Turn};
use crate::engine::connection::{OwnerId, next_id};

/// Those who come would have to wait for one who looks all the time.
const BETWEEN_LOOKS: Duration = Duration::from_micros(5);

/// When nobody has come for so long, those who would may be waiting for this processor…
const ALONE: Duration = Duration::from_micros(10);

/// …which they get while its thread sleeps. The shortest sleep takes this long; a commit has to be worth it.
const NAP: Duration = Duration::from_micros(60);

/// The duty to commit an open transaction while the turn is free for everybody. Dropped, it commits on the lane.
pub(super) struct Leader<'a> {
    pub(super) writer: &'a Arc<Writer>,
    pub(super) id: OwnerId,
}

impl Leader<'_> {
    /// Lets other tasks run; when none of them comes, for as long as one commit more would cost at most. `None` when
    /// somebody else commits.
    pub(super) async fn wait_for_company(self, method: &'static str) -> Option<(Turn, Members)> {
        let limit = self.writer.pace.typical().min(MAX_AGE);
        let (mut count, mut since) = (0, Instant::now());
        let mut looked = since;
        let mut may_nap = limit > NAP && has_other_workers();
        loop {
            tokio::task::yield_now().await;
            if looked.elapsed() < BETWEEN_LOOKS {
                continue;
            }
            looked = Instant::now();
            let mut state = self.writer.lock();
            if state.batch.leader != Some(self.id) {
                return None;
            }
            if state.may_wait_for_company(false) {
                if state.batch.count() != count {
                    (count, since) = (state.batch.count(), Instant::now());
                }
                let alone = since.elapsed();
                if alone < limit {
                    drop(state);
                    if alone > ALONE && std::mem::take(&mut may_nap) {
                        nap();
                    }
                    continue;
                }
            }
            let turn = self.writer.take_free_turn(&mut state, method)?;
            return Some((turn, state.batch.take_members()));
        }
    }
}

/// Without them nobody could come while this one sleeps.
fn has_other_workers() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.metrics().num_workers() > 1)
}

/// Gives the processor away. The system may put a thread that is woken on the processor of the one that wakes it, which
/// then waits with most of the members still to be woken.
#[expect(
    clippy::disallowed_methods,
    reason = "it holds the worker up for no longer than a statement may"
)]
fn nap() {
    std::thread::sleep(Duration::from_nanos(1));
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let turn = {
            let mut state = self.writer.lock();
            if state.batch.leader != Some(self.id) {
                return;
            }
            self.writer.take_free_turn(&mut state, NOBODY)
        };
        drop(turn);
    }
}

impl Writer {
    /// Ends the wait for company: the open transaction has no leader from then on. Takes the turn if it is free; passed
    /// on, such a turn commits first.
    pub(super) fn take_free_turn(
        self: &Arc<Self>,
        state: &mut State,
        method: &'static str,
    ) -> Option<Turn> {
        state.batch.leader = None;
        if state.holder.is_some() || !state.batch.is_open() {
            return None;
        }
        self.contention.is_over();
        let id = next_id();
        state.hold(id, method);
        Some(Turn::new(self, id, true, true))
    }
}
