//! The differences of two schemas, to be read by people.

use std::fmt;

use super::{Kind, Object, SchemaDump};

/// What is different in two schemas: `-` is what only the first one has, `+` what only the second one has.
///
/// [`Debug`](fmt::Debug) is the same text as [`Display`](fmt::Display), so that `unwrap()` in a test can be read.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaDiff {
    changes: Vec<Change>,
}

#[derive(Clone, PartialEq, Eq)]
enum Change {
    /// Only the first schema has it; `owned` when both have the table or view that it belongs to.
    Extra { object: Object, owned: bool },
    /// Only the second schema has it.
    Missing { object: Object },
    /// Both have it.
    Lines {
        header: String,
        extra: Vec<String>,
        missing: Vec<String>,
    },
    /// Both have the same columns.
    Order {
        header: String,
        found: String,
        expected: String,
    },
}

impl SchemaDiff {
    pub(super) fn between(found: &SchemaDump, expected: &SchemaDump) -> Option<Self> {
        let mut changes = Vec::new();
        for object in &found.objects {
            match expected.like(object) {
                Some(expected) => changes.extend(Change::between(object, expected)),
                None => changes.push(Change::Extra {
                    owned: expected.objects.iter().any(|other| object.belongs_to(other)),
                    object: object.clone(),
                }),
            }
        }
        for object in &expected.objects {
            if found.like(object).is_none() {
                let object = object.clone();
                changes.push(Change::Missing { object });
            }
        }
        (!changes.is_empty()).then_some(Self { changes })
    }

    /// Whether a program that expects the second schema may stumble in the first one. It does not over tables and
    /// views that it does not know, nor over the order of columns, which ALTER TABLE cannot choose.
    pub(crate) fn is_drift(&self) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Extra { owned, .. } => *owned,
            Change::Missing { .. } | Change::Lines { .. } => true,
            Change::Order { .. } => false,
        })
    }
}

impl SchemaDump {
    fn like(&self, object: &Object) -> Option<&Object> {
        self.objects.iter().find(|other| {
            other.kind == object.kind && other.name.eq_ignore_ascii_case(&object.name)
        })
    }
}

impl Object {
    fn belongs_to(&self, other: &Self) -> bool {
        matches!(self.kind, Kind::Index | Kind::Trigger)
            && matches!(other.kind, Kind::Table | Kind::View)
            && self.owner == other.owner
    }
}

impl Change {
    fn between(found: &Object, expected: &Object) -> Option<Self> {
        if found == expected {
            return None;
        }
        let only = |these: &Object, those: &Object| -> Vec<String> {
            let mut lines: Vec<&String> = those.body().collect();
            let is_new = |line: &&String| match lines.iter().position(|other| other == line) {
                Some(place) => {
                    lines.swap_remove(place);
                    false
                }
                None => true,
            };
            these.body().filter(is_new).cloned().collect()
        };
        let (extra, missing) = (only(found, expected), only(expected, found));
        let header = expected.header();
        if extra.is_empty() && missing.is_empty() {
            if found.columns == expected.columns {
                return None;
            }
            return Some(Self::Order {
                header,
                found: found.names(),
                expected: expected.names(),
            });
        }
        Some(Self::Lines {
            header,
            extra,
            missing,
        })
    }
}
