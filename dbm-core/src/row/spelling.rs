//! Columns that hold what a type reads, but spell it in another way: a time as SQLite spells it, a UUID as its bytes.
//!
//! serde does not say what a type reads. So a type first gets the column as it is. If it refuses that, it is offered the
//! other spellings, and the first that it takes is read. A type that takes the same text with meaningless letters, too,
//! reads any text: for that one it would be a conversion, and the refusal stays.

use rusqlite::types::ValueRef;
use serde_core::de::{Deserialize, Deserializer, Visitor};
use serde_core::forward_to_deserialize_any;

use super::column::Column;
use super::fault::Fault;
use crate::value::time;

/// Reads a column.
pub(super) fn column<'de, T: Deserialize<'de>>(value: ValueRef<'de>) -> Result<T, Fault> {
    T::deserialize(Column(value)).or_else(|fault| respelled_column(value, fault))
}

#[cold]
fn respelled_column<'de, T: Deserialize<'de>>(
    value: ValueRef<'de>,
    fault: Fault,
) -> Result<T, Fault> {
    for text in spellings(value) {
        if let Ok(read) = T::deserialize(Respelled(&text)) {
            return match T::deserialize(Respelled(&meaningless(&text))) {
                Ok(_) => Err(fault),
                Err(_) => Ok(read),
            };
        }
    }
    Err(fault)
}

/// What a column may be read as if its type refuses it.
pub(super) fn spellings(value: ValueRef<'_>) -> Vec<String> {
    match value {
        ValueRef::Text(text) => {
            std::str::from_utf8(text).map_or_else(|_| Vec::new(), time::spellings)
        }
        ValueRef::Blob(bytes) => <[u8; 16]>::try_from(bytes).map_or_else(
            |_| Vec::new(),
            |bytes| vec![uuid(u128::from_be_bytes(bytes))],
        ),
        _ => Vec::new(),
    }
}

fn uuid(number: u128) -> String {
    let mut text = format!("{number:032x}");
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}

/// The text with letters that no time and no UUID has.
pub(super) fn meaningless(text: &str) -> String {
    let letter = |letter: char| {
        if letter.is_alphanumeric() {
            'z'
        } else {
            letter
        }
    };
    text.chars().map(letter).collect()
}

/// A text that does not live as long as the row.
#[derive(Clone, Copy)]
struct Respelled<'t>(&'t str);

impl<'de> Deserializer<'de> for Respelled<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
