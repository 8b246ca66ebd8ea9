//! Which live reads there are, and which of them a commit concerns.
//!
//! A commit *before* a read began is in what the read saw. One *after* that marks the read as outdated, if it has written a
//! table that the read depends on. A read does not know what it depends on before it has ended. So it notes the number
//! of the newest commit first ([`Subscription::begin`]), and is outdated if a table has got a higher one meanwhile
//! ([`Subscription::settle`]).
//!
//! Commits are told on a thread of the manager, after the writer has gone on: a thousand readers take milliseconds to wake.
//! Meanwhile a read may see a commit that is told later. It is then made once more, for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::tables::Tables;
use crate::waking::Bell;

/// The live reads of one manager.
#[derive(Debug, Default)]
pub(crate) struct LiveReads {
    /// How many there are. While there are none, nothing is recorded.
    active: AtomicUsize,
    state: Mutex<State>,
    /// What was committed and is not told yet.
    committed: Mutex<Vec<Tables>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the newest commit that was told.
    newest: u64,
    /// The newest commit that wrote a table, and the newest one that may have written any.
    by_table: BTreeMap<Box<str>, u64>,
    of_all: u64,
    reads: BTreeMap<u64, Read>,
    last_id: u64,
    closed: bool,
}

#[derive(Debug)]
struct Read {
    depends_on: Tables,
    outdated: bool,
    bell: Arc<Bell>,
}

impl LiveReads {
    /// Whether statements are recorded.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn count(&self) -> u64 {
        self.active.load(Ordering::Relaxed) as u64
    }

    /// Notes what a transaction has written, once it is durable. True if [`tell`](Self::tell) must be called for it.
    pub(crate) fn note_commit(&self, written: impl FnOnce() -> Tables) -> bool {
        // SeqCst: the partner of the one in `subscribe`. Either this sees the new reader, or that one sees the commit.
        fence(Ordering::SeqCst);
        if !self.is_active() {
            return false;
        }
        let written = written();
        if written.is_empty() {
            return false;
        }
        let mut committed = lock(&self.committed);
        committed.push(written);
        committed.len() == 1
    }

    /// Wakes the reads that the noted commits concern. Not under a lock, and not while others wait.
    pub(crate) fn tell(&self) {
        let committed = std::mem::take(&mut *lock(&self.committed));
        let mut state = self.lock();
        for written in &committed {
            state.note(written);
        }
        let bells: Vec<_> = state.outdated_by(&committed).collect();
        drop(state);
        for bell in bells {
            bell.ring();
        }
    }

    /// Ends all live reads.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let bells: Vec<_> = state
            .reads
            .values()
            .map(|read| Arc::clone(&read.bell))
            .collect();
        drop(state);
        for bell in bells {
            bell.ring();
        }
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        self.active.fetch_add(1, Ordering::SeqCst);
        // SeqCst: the partner of the one in `note_commit`.
        fence(Ordering::SeqCst);
        let bell = Arc::<Bell>::default();
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.reads.insert(
            id,
            Read {
                depends_on: Tables::default(),
                outdated: false,
                bell: Arc::clone(&bell),
            },
        );
        drop(state);
        Subscription {
            live: Arc::clone(self),
            id,
            bell,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn note(&mut self, written: &Tables) {
        self.newest += 1;
        match written {
            Tables::All => self.of_all = self.newest,
            Tables::These(names) => {
                for name in names {
                    self.by_table.insert(name.clone(), self.newest);
                }
            }
        }
    }

    /// The number of the newest commit that concerns these tables.
    fn newest_of(&self, tables: &Tables) -> u64 {
        let of_tables = match tables {
            Tables::All => Some(&self.newest),
            Tables::These(names) => names
                .iter()
                .filter_map(|name| self.by_table.get(name))
                .max(),
        };
        let any = match tables {
            Tables::These(names) if names.is_empty() => 0,
            _ => self.of_all,
        };
        of_tables.copied().unwrap_or(0).max(any)
    }

    fn outdated_by(&mut self, committed: &[Tables]) -> impl Iterator<Item = Arc<Bell>> {
        self.reads.values_mut().filter_map(|read| {
            let concerns = |written: &Tables| read.depends_on.meets(written);
            if read.outdated || !committed.iter().any(concerns) {
                return None;
            }
            read.outdated = true;
            Some(Arc::clone(&read.bell))
        })
    }
}

/// A live read's place in the registry. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subscription {
    live: Arc<LiveReads>,
    id: u64,
    bell: Arc<Bell>,
}

/// What a live read should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Wait,
    Read,
    End,
}

impl Subscription {
    /// The read begins: the number of the newest commit that it is certain to see.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.live.lock();
        if let Some(read) = state.reads.get_mut(&self.id) {
            read.outdated = false;
            // Nothing is missed: `settle` compares with what is told meanwhile.
            read.depends_on = Tables::default();
        }
        state.newest
    }

    /// The read has ended.
    pub(crate) fn settle(&self, began_at: u64, depends_on: Tables) {
        let mut state = self.live.lock();
        let outdated = state.newest_of(&depends_on) > began_at;
        if let Some(read) = state.reads.get_mut(&self.id) {
            read.outdated = outdated;
            read.depends_on = depends_on;
        }
    }

    pub(crate) fn next(&self) -> Next {
        let state = self.live.lock();
        match state.reads.get(&self.id) {
            _ if state.closed => Next::End,
            Some(read) if read.outdated => Next::Read,
            Some(_) => Next::Wait,
            None => Next::End,
        }
    }

    pub(crate) async fn told(&self) {
        self.bell.heard().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        let read = state.reads.remove(&self.id);
        if state.reads.is_empty() {
            state.by_table.clear();
        }
        drop(state);
        drop(read);
        self.live.active.fetch_sub(1, Ordering::SeqCst);
    }
}
