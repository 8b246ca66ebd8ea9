//! The differences of two schemas, as text for people.

use std::fmt;

use super::{Object, ObjectKind, SchemaDump};

/// The differences of two schemas: `-` marks what only the first one has, `+` what only the second one has.
///
/// [`Debug`](fmt::Debug) shows the same text as [`Display`](fmt::Display), so that `unwrap()` in a test is readable.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaDiff {
    changes: Vec<Change>,
}

#[derive(Clone, PartialEq, Eq)]
enum Change {
    /// Only the first schema has it. `owned` if both have the table or view that it belongs to.
    Extra { object: Object, owned: bool },
    /// Only the second schema has it.
    Missing { object: Object },
    /// Both schemas have it, with different lines.
    Lines {
        header: String,
        extra: Vec<String>,
        missing: Vec<String>,
    },
    /// Both schemas have it, with the same columns in another order.
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
                    owned: expected
                        .objects
                        .iter()
                        .any(|other| object.belongs_to(other)),
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

    /// The differences that may break a program which expects the second schema. Tables and views that it does not know
    /// cannot. Nor can the order of columns, which ALTER TABLE does not let a migration choose.
    pub(crate) fn drift(mut self) -> Option<Self> {
        self.changes.retain(|change| match change {
            Change::Extra { owned, .. } => *owned,
            Change::Missing { .. } | Change::Lines { .. } => true,
            Change::Order { .. } => false,
        });
        (!self.changes.is_empty()).then_some(self)
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
        matches!(self.kind, ObjectKind::Index | ObjectKind::Trigger)
            && matches!(other.kind, ObjectKind::Table | ObjectKind::View)
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
            let names = |object: &Object| {
                let names: Vec<&str> = object.columns.iter().map(|column| &*column.name).collect();
                names.join(", ")
            };
            let (found, expected) = (names(found), names(expected));
            return (found != expected).then_some(Self::Order {
                header,
                found,
                expected,
            });
        }
        Some(Self::Lines {
            header,
            extra,
            missing,
        })
    }
}

impl fmt::Display for SchemaDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut line = |sign: char, indent: &str, line: &str| {
            text.push(sign);
            text.push(' ');
            text.push_str(indent);
            text.push_str(line);
            text.push('\n');
        };
        for change in &self.changes {
            match change {
                Change::Extra { object, .. } => whole(object, '-', &mut line),
                Change::Missing { object } => whole(object, '+', &mut line),
                Change::Lines {
                    header,
                    extra,
                    missing,
                } => {
                    line(' ', "", header);
                    extra.iter().for_each(|text| line('-', "  ", text));
                    missing.iter().for_each(|text| line('+', "  ", text));
                }
                Change::Order {
                    header,
                    found,
                    expected,
                } => {
                    line(' ', "", header);
                    line('-', "  columns in this order: ", found);
                    line('+', "  columns in this order: ", expected);
                }
            }
        }
        f.write_str(text.trim_end())
    }
}

fn whole(object: &Object, sign: char, line: &mut impl FnMut(char, &str, &str)) {
    line(sign, "", &object.header());
    object.body().for_each(|text| line(sign, "  ", text));
}

impl fmt::Debug for SchemaDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for SchemaDiff {}
