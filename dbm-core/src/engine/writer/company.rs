//! A transaction that waits for more calls: those that were just answered together are about to call again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Writer;
use super::commit::MAX_AGE;
use super::ending::Members;
use super::queue::{NOBODY, State, Turn};
use crate::engine::connection::{OwnerId, next_id};

/// Those who come would have to wait for one who looks all the time.
const BETWEEN_LOOKS: Duration = Duration::from_micros(5);

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
                if since.elapsed() < limit {
                    continue;
                }
            }
            let turn = self.writer.take_free_turn(&mut state, method)?;
            return Some((turn, state.batch.take_members()));
        }
    }
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
