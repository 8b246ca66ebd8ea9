//! Which live reads there are, and which of them a commit concerns.
//!
//! A commit *before* a read began is in what the read saw. One *after* that marks the read as outdated, if it has written a
//! table that the read depends on. A read does not know what it depends on before it has ended. So it notes the number
//! of the newest commit first ([`Subscription::begin`]), and is outdated if a table has got a higher one meanwhile
//! ([`Subscription::settle`]).
//!
//! Commits are told on a thread of the manager, after the writer has gone on: a thousand readers take milliseconds to wake.
//! Meanwhile a read may see a commit that is told later. It is then made once more, for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
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
    /// The tables that were written or read.
    by_table: BTreeMap<Box<str>, Table>,
    /// The newest commit that may have written any table.
    of_all: u64,
    reads: BTreeMap<u64, Read>,
    /// Those that depend on all tables.
    of_all_tables: BTreeSet<u64>,
    last_id: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest commit that wrote it.
    newest: u64,
    /// The reads that depend on it. One that is outdated need not be found again.
    reads: BTreeSet<u64>,
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
        let committed = take(&mut *lock(&self.committed));
        let mut state = self.lock();
        let mut bells = Vec::new();
        for written in &committed {
            state.note(written, &mut bells);
        }
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
    /// A commit. Looks at no read that it does not concern: there may be many.
    fn note(&mut self, written: &Tables, bells: &mut Vec<Arc<Bell>>) {
        self.newest += 1;
        let mut concerned = take(&mut self.of_all_tables);
        match written {
            Tables::All => {
                self.of_all = self.newest;
                for table in self.by_table.values_mut() {
                    concerned.append(&mut table.reads);
                }
            }
            Tables::These(names) => {
                for name in names {
                    let table = self.by_table.entry(name.clone()).or_default();
                    table.newest = self.newest;
                    concerned.append(&mut table.reads);
                }
            }
        }
        for id in concerned {
            if let Some(read) = self.reads.get_mut(&id)
                && !read.outdated
            {
                read.outdated = true;
                bells.push(Arc::clone(&read.bell));
            }
        }
    }

    /// The number of the newest commit that concerns these tables.
    fn newest_of(&self, tables: &Tables) -> u64 {
        match tables {
            Tables::All => self.newest,
            Tables::These(names) if names.is_empty() => 0,
            Tables::These(names) => {
                let of_each = names.iter().filter_map(|name| self.by_table.get(name));
                of_each.fold(self.of_all, |newest, table| newest.max(table.newest))
            }
        }
    }

    /// Takes a read out of the lists in which commits find it.
    fn forget(&mut self, id: u64) {
        let Some(read) = self.reads.get_mut(&id) else {
            return;
        };
        match take(&mut read.depends_on) {
            Tables::All => {
                self.of_all_tables.remove(&id);
            }
            Tables::These(names) => {
                for name in names {
                    if let Some(table) = self.by_table.get_mut(&name) {
                        table.reads.remove(&id);
                    }
                }
            }
        }
    }

    fn remember(&mut self, id: u64, depends_on: Tables) {
        match &depends_on {
            Tables::All => {
                self.of_all_tables.insert(id);
            }
            Tables::These(names) => {
                for name in names {
                    let table = self.by_table.entry(name.clone()).or_default();
                    table.reads.insert(id);
                }
            }
        }
        if let Some(read) = self.reads.get_mut(&id) {
            read.depends_on = depends_on;
        }
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
        // Nothing is missed: `settle` compares with what is told meanwhile.
        state.forget(self.id);
        if let Some(read) = state.reads.get_mut(&self.id) {
            read.outdated = false;
        }
        state.newest
    }

    /// The read has ended.
    pub(crate) fn settle(&self, began_at: u64, depends_on: Tables) {
        let mut state = self.live.lock();
        let outdated = state.newest_of(&depends_on) > began_at;
        if let Some(read) = state.reads.get_mut(&self.id) {
            read.outdated = outdated;
        }
        state.remember(self.id, depends_on);
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
        state.forget(self.id);
        let read = state.reads.remove(&self.id);
        if state.reads.is_empty() {
            state.by_table.clear();
        }
        drop(state);
        drop(read);
        self.live.active.fetch_sub(1, Ordering::SeqCst);
    }
}
