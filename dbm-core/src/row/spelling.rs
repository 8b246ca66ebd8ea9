//! Columns that hold what a type reads, but spell it in another way: a time as SQLite spells it, a UUID as its bytes.
//!
//! serde does not say what a type reads. So a type first gets the column as it is. If it refuses that, it is offered the
//! other spellings, and the first that it takes is read. A type that takes the same text with meaningless letters, too,
//! reads any text: for that one it would be a conversion, and the refusal stays.

use rusqlite::types::ValueRef;
use serde_core::de::{Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde_core::forward_to_deserialize_any;

use super::buffered;
use super::column::Column;
use super::fault::Fault;
use super::record::Record;
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

/// Reads a row that a type refuses.
#[cold]
pub(super) fn record<T: DeserializeOwned>(record: Record<'_>, fault: Fault) -> Result<T, Fault> {
    if record.width() == 1 {
        // A type that takes anything was given a row, not the one value that it may want. And a type that checks what it
        // has read does not name the column.
        let read = buffered::read(record).or_else(|other| respelled(record, other));
        if let Ok((read,)) = read {
            return Ok(read);
        }
    }
    respelled(record, fault)
}

/// Reads the row if another spelling of the refused column, and of those after it, is taken.
fn respelled<T: DeserializeOwned>(record: Record<'_>, mut fault: Fault) -> Result<T, Fault> {
    let mut texts: Vec<(usize, String)> = Vec::new();
    while let Some(index) = fault.column()
        && texts.iter().all(|(other, _)| *other != index)
    {
        let takes = |read: &Result<T, Fault>| match read {
            Ok(_) => true,
            Err(other) => other.column() != Some(index),
        };
        let respelled = spellings(record.value(index)?)
            .into_iter()
            .map(|text| (with(record, &mut texts, index, text.clone()), text))
            .find(|(read, _)| takes(read));
        match respelled {
            Some((_, text)) if takes(&with(record, &mut texts, index, meaningless(&text))) => break,
            Some((Ok(read), _)) => return Ok(read),
            Some((Err(other), text)) => {
                texts.push((index, text));
                fault = other;
            }
            None => break,
        }
    }
    Err(fault)
}

/// Reads the row with one more column respelled.
fn with<T: DeserializeOwned>(
    record: Record<'_>,
    texts: &mut Vec<(usize, String)>,
    index: usize,
    text: String,
) -> Result<T, Fault> {
    texts.push((index, text));
    let read = buffered::read(Record {
        respelled: texts,
        ..record
    });
    texts.pop();
    read
}

fn spellings(value: ValueRef<'_>) -> Vec<String> {
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
fn meaningless(text: &str) -> String {
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
