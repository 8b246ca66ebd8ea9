//! Records each value that a type refuses while serde reads a row.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use rusqlite::types::ValueRef;
use serde_core::de::{self, Expected, Unexpected};

use super::fault::Fault;
use crate::error::may_hold_literal;

/// The hint in an error that serde's buffer has caused.
pub(super) const HINT: &str = "serde buffers it (`flatten`, `untagged`, `tag`): give the field `#[serde(deserialize_with = \"dbm_core::column\")]`";

/// What a `Json` says to serde's buffer, in serde's own words for a number of 128 bits.
pub(super) const NO_JSON: &str = "JSON is not supported";

impl de::Error for Fault {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let mut fault = Self::new(message);
        let words = fault.message();
        if let "i128 is not supported" | "u128 is not supported" | NO_JSON = words {
            fault = Self::new(format_args!("expected {}; {HINT}", &words[..4]));
            return Refusals::note(Found::Unseen, fault);
        } else if words.starts_with("data did not match any variant") {
            fault = Self::new(format_args!("{words}; {HINT}"));
        } else {
            fault.set_foreign();
        }
        Refusals::note_words(fault)
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let text = expected.to_string();
        let lost = match found {
            Unexpected::Signed(_) => text == "a boolean",
            Unexpected::Bytes(_) => text == "a sequence" || text.starts_with("an array of length"),
            _ => false,
        };
        let hint = if lost { "; " } else { "" };
        let fault = Self::new(format_args!(
            "expected {text}, found {}{hint}{}",
            unexpected(found),
            if lost { HINT } else { "" },
        ));
        Refusals::note(found.into(), fault)
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let fault = Self::new(format_args!(
            "expected {expected}, found {} with another value",
            unexpected(found)
        ));
        Refusals::note(found.into(), fault)
    }

    #[cold]
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let fault = Self::new(format_args!(
            "the text is none of the variants {}",
            expected.join(", ")
        ));
        Refusals::note(Unexpected::Str(found).into(), fault)
    }

    #[cold]
    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        if may_hold_literal(name) {
            return Self::new("the type has no field for one of the columns");
        }
        Self::new(format_args!(
            "the type has no field for the column `{name}`"
        ))
    }

    #[cold]
    fn missing_field(name: &'static str) -> Self {
        Self::new(format_args!(
            "the type needs a column `{name}`, which the row does not have"
        ))
    }

    #[cold]
    fn duplicate_field(name: &'static str) -> Self {
        Self::new(format_args!(
            "the row has several columns for the field `{name}`"
        ))
    }
}

/// What serde found, without the value.
fn unexpected(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an INTEGER",
        Unexpected::Float(_) => "a REAL",
        Unexpected::Char(_) | Unexpected::Str(_) => "TEXT",
        Unexpected::Bytes(_) => "a BLOB",
        Unexpected::Unit | Unexpected::Option => "NULL",
        Unexpected::Seq => "a sequence",
        Unexpected::Map => "a row",
        Unexpected::UnitVariant => "the name of a unit variant",
        _ => "something else",
    }
}

/// A value that a type has refused. serde may have ignored the refusal and gone on, without telling the caller.
pub(super) struct Refusal {
    found: Found,
    pub(super) fault: Fault,
}

impl Refusal {
    pub(super) fn may_be_of(&self, value: ValueRef<'_>) -> bool {
        match self.found {
            Found::Anything => value != ValueRef::Null,
            found => found == Found::of(value),
        }
    }

    pub(super) fn is_of_the_unseen(&self) -> bool {
        self.found == Found::Unseen
    }

    pub(super) fn is_of_the_impossible(&self) -> bool {
        self.found == Found::Impossible
    }
}

/// The refused value, as far as it identifies the column.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    /// NULL, as in the columns of a LEFT JOIN without a match. Becoming `None` is right for them.
    Null,
    Integer(i64),
    Real(u64),
    /// The address of the text or the bytes.
    At(*const u8),
    Anything,
    /// A number of 128 bits, or JSON. serde's buffer supports neither, so the value was not looked at.
    Unseen,
    Impossible,
}

impl Found {
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number.to_bits()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Self::At(bytes.as_ptr()),
        }
    }
}

impl From<Unexpected<'_>> for Found {
    fn from(found: Unexpected<'_>) -> Self {
        match found {
            Unexpected::Unit | Unexpected::Option => Self::Null,
            Unexpected::Signed(number) => Self::Integer(number),
            Unexpected::Float(number) => Self::Real(number.to_bits()),
            Unexpected::Str(text) => Self::At(text.as_ptr()),
            Unexpected::Bytes(bytes) => Self::At(bytes.as_ptr()),
            Unexpected::NewtypeStruct | Unexpected::Map => Self::Impossible,
            _ => Self::Anything,
        }
    }
}

thread_local! {
    /// Whether there is any record to check after a row. Reading a row checks nothing else.
    static NOTED: Cell<bool> = const { Cell::new(false) };
    static REFUSED: RefCell<Vec<Refusal>> = const { RefCell::new(Vec::new()) };
    /// A refusal that passes through an error type which keeps only its words.
    static PASSED_ON: RefCell<Option<Refusal>> = const { RefCell::new(None) };
}

/// The refusals of the row that this thread reads. They are thread-local because serde builds an error from its type
/// alone, and so there is no other place for them.
pub(super) struct Refusals;

impl Refusals {
    #[inline]
    pub(super) fn forget() {
        NOTED.set(false);
    }

    #[inline]
    pub(super) fn noted() -> bool {
        NOTED.get()
    }

    pub(super) fn note_something() {
        if !NOTED.replace(true) {
            REFUSED.take();
        }
    }

    pub(super) fn count() -> usize {
        if NOTED.get() {
            REFUSED.with_borrow(Vec::len)
        } else {
            0
        }
    }

    pub(super) fn take() -> Vec<Refusal> {
        REFUSED.take()
    }

    /// Keeps a fault while its words pass through another error type. What was recorded on the way is not a refusal of
    /// its own.
    pub(super) fn pass_on(value: ValueRef<'_>, fault: &Fault, before: usize) {
        REFUSED.with_borrow_mut(|refused| refused.truncate(before));
        let found = match value {
            // This value is a copy, so its address does not identify the column.
            ValueRef::Text(_) | ValueRef::Blob(_) => Found::Anything,
            value => Found::of(value),
        };
        let fault = fault.clone();
        PASSED_ON.set(Some(Refusal { found, fault }));
    }

    fn note_words(fault: Fault) -> Fault {
        match PASSED_ON.take() {
            Some(own) if own.fault.message() == fault.message() => Self::note(own.found, own.fault),
            _ => Self::note(Found::Anything, fault),
        }
    }

    fn note(found: Found, fault: Fault) -> Fault {
        if found != Found::Null {
            Self::note_something();
            let fault = fault.clone();
            REFUSED.with_borrow_mut(|refused| refused.push(Refusal { found, fault }));
        }
        fault
    }
}
