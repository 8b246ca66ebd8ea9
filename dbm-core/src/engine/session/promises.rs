//! What a body has promised to run after the commit of its transaction.

use super::Session;
use crate::after_commit::Ticket;
use crate::engine::commit_outcome::Aftermath;
use crate::sync::lock;

impl Session {
    pub(crate) fn promise(&self, ticket: Ticket) {
        lock(&self.rare().promises).push(ticket);
    }

    /// How many promises there are: the mark to which a savepoint goes back.
    pub(crate) fn promised(&self) -> usize {
        self.rare.get().map_or(0, |rare| lock(&rare.promises).len())
    }

    /// Takes back what was promised after `mark`: that work is undone.
    pub(crate) fn take_back_promises(&self, mark: usize) {
        drop(self.take_promises(mark));
    }

    /// Has the promises kept, by the runner: the work is durable.
    pub(crate) fn keep_promises(&self) {
        self.take_promises(0)
            .into_iter()
            .for_each(Ticket::committed);
    }

    /// The promises and what was written, for the batch that the call's work becomes part of.
    pub(crate) fn take_aftermath(&self) -> Option<Box<Aftermath>> {
        self.rare.get()?;
        Some(Box::new(Aftermath {
            promises: self.take_promises(0),
            written: self.take_written(),
        }))
    }

    fn take_promises(&self, mark: usize) -> Vec<Ticket> {
        let Some(rare) = self.rare.get() else {
            return Vec::new();
        };
        let mut promises = lock(&rare.promises);
        let mark = mark.min(promises.len());
        promises.split_off(mark)
    }
}
