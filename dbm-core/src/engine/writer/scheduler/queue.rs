//! The waiting calls, in order of arrival.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A call's place in the order of arrival. A call that misses its grant keeps its place.
pub(crate) type Arrival = u64;

/// Sorted by arrival. Leaving takes O(log n): it empties the entry, which is removed when it reaches an end of the
/// queue, or together with the other empty ones, before they outnumber the calls that wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Queue<W> {
    entries: VecDeque<Entry<W>>,
    waiting: usize,
}

/// A queue with fewer empty entries than this is left alone.
const FEW: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry<W> {
    arrival: Arrival,
    waiter: Option<Waiter<W>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiter<W> {
    pub(super) handle: W,
    /// When the call arrived. No call before it in the queue arrived later.
    pub(super) since: Instant,
    /// How long the call may take to claim the writer after the grant.
    pub(super) claim_within: Duration,
}

impl<W> Queue<W> {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            waiting: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The call that has waited longest.
    pub(super) fn front(&self) -> Option<&Waiter<W>> {
        self.entries.front()?.waiter.as_ref()
    }

    pub(super) fn insert(&mut self, arrival: Arrival, waiter: Waiter<W>) {
        let position = self
            .entries
            .partition_point(|entry| entry.arrival < arrival);
        let entry = Entry {
            arrival,
            waiter: Some(waiter),
        };
        self.entries.insert(position, entry);
        self.waiting += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Waiter<W>> {
        let waiter = self.entries.pop_front()?.waiter?;
        self.waiting -= 1;
        self.tidy();
        Some(waiter)
    }

    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<W> {
        let found = self
            .entries
            .binary_search_by_key(&arrival, |entry| entry.arrival);
        let waiter = self.entries.get_mut(found.ok()?)?.waiter.take()?;
        self.waiting -= 1;
        self.tidy();
        Some(waiter.handle)
    }

    /// Removes all calls.
    pub(super) fn clear(&mut self) -> Vec<W> {
        self.waiting = 0;
        let waiters = std::mem::take(&mut self.entries).into_iter();
        waiters
            .filter_map(|entry| Some(entry.waiter?.handle))
            .collect()
    }

    /// Restores the invariants: the entries at both ends hold a waiter, and empty ones are few.
    fn tidy(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.waiter.is_none())
        {
            self.entries.pop_front();
        }
        while self
            .entries
            .back()
            .is_some_and(|entry| entry.waiter.is_none())
        {
            self.entries.pop_back();
        }
        if self.entries.len() > 2 * self.waiting + FEW {
            self.entries.retain(|entry| entry.waiter.is_some());
        }
    }

    /// The queue's own invariants. Checking them visits every entry, so only tests do it.
    #[cfg(test)]
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let waiting = self.entries.iter().filter(|entry| entry.waiter.is_some());
        let ends = [self.entries.front(), self.entries.back()];
        let mut neighbours = self.entries.iter().zip(self.entries.iter().skip(1));
        if waiting.count() != self.waiting {
            Err("the queue has lost count")
        } else if self.entries.len() > 2 * self.waiting + FEW {
            Err("those who have left take more room than those who wait")
        } else if ends.iter().flatten().any(|entry| entry.waiter.is_none()) {
            Err("nobody stands at an end of the queue")
        } else if neighbours.any(|(first, second)| first.arrival >= second.arrival) {
            Err("the queue is not in the order of arrival")
        } else {
            Ok(())
        }
    }
}
