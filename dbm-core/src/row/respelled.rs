//! Rows with columns that their type refuses, but takes in another spelling.

use serde_core::de::DeserializeOwned;

use super::buffered;
use super::fault::Fault;
use super::record::Record;
use super::spelling::{meaningless, spellings};

/// Reads a row that a type has refused with `fault`.
#[cold]
pub(super) fn read<T: DeserializeOwned>(record: Record<'_>, fault: Fault) -> Result<T, Fault> {
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
