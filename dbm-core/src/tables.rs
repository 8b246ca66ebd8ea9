//! Sets of tables: those that a read depends on, or that a transaction has written.

use std::collections::BTreeSet;

/// A set of tables, by their names in lower case: SQLite's names do not depend on case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tables {
    These(BTreeSet<Box<str>>),
    /// All that there are, and the schema itself. Also: it is not known which.
    All,
}

impl Default for Tables {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Tables {
    pub(crate) fn add(&mut self, name: &str) {
        if let Self::These(names) = self {
            names.insert(name.to_ascii_lowercase().into());
        }
    }

    pub(crate) fn add_all_of(&mut self, others: &Self) {
        match (&mut *self, others) {
            (Self::These(names), Self::These(others)) => names.extend(others.iter().cloned()),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::These(names) if names.is_empty())
    }
}
