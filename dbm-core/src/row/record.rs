//! A whole row, deserialized by serde as a struct, a map, a tuple, or the one value that it consists of.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use serde_core::de::value::BorrowedStrDeserializer;
use serde_core::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::cells::Cells;
use super::column::Column;
use super::fault::Fault;
use super::heading::{Heading, label};
use super::impossible::Impossible;
use crate::value::is_one_value;

/// The current row of a result. Nothing is copied until serde asks for it.
#[derive(Clone, Copy)]
pub(super) struct Record<'de> {
    pub(super) cells: Cells<'de>,
    /// The names that the rows of one result share. A single row has none: asking SQLite for each name is faster than
    /// collecting them.
    pub(super) heading: Option<&'de Heading>,
    /// A value to try in place of a column's own; `None` inside is the value that no type accepts.
    pub(super) instead: Option<(usize, Option<ValueRef<'de>>)>,
    /// Columns that are read as these texts.
    pub(super) respelled: &'de [(usize, String)],
}

impl<'de> Record<'de> {
    pub(super) fn with(self, index: usize, value: Option<ValueRef<'de>>) -> Self {
        Self {
            instead: Some((index, value)),
            ..self
        }
    }

    pub(super) fn width(self) -> usize {
        self.cells.width()
    }

    pub(super) fn value(self, index: usize) -> Result<ValueRef<'de>, Fault> {
        match self.respelled.iter().find(|(other, _)| *other == index) {
            Some((_, text)) => Ok(ValueRef::Text(text.as_bytes())),
            None => self.cells.get(index).map_err(Fault::new),
        }
    }

    /// Reads the value of one column, and names the column in an error.
    fn read<T>(
        self,
        index: usize,
        read: impl FnOnce(Column<'de>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let value = self.value(index)?;
        if let Some(heading) = self.heading {
            heading.count(value);
        }
        read(Column(value)).map_err(|fault| fault.in_column(index, value))
    }

    /// Reads the value of one column, or what is to be tried in its place.
    fn element<S: DeserializeSeed<'de>>(self, index: usize, seed: S) -> Result<S::Value, Fault> {
        match self.instead {
            Some((instead, value)) if instead == index => match value {
                Some(value) => seed.deserialize(Column(value)),
                None => seed.deserialize(Impossible::NEW),
            },
            _ => self.read(index, |column| seed.deserialize(column)),
        }
    }

    /// Reads a row that must have exactly one column.
    fn single<T>(self, read: impl FnOnce(Column<'de>) -> Result<T, Fault>) -> Result<T, Fault> {
        match self.width() {
            1 => self.read(0, read),
            width => Err(Fault::new(format_args!(
                "a single value is read from exactly 1 column, the row has {width}"
            ))),
        }
    }

    /// Completes a fault that is not about one column, but about the type built from them.
    #[cold]
    pub(super) fn explain(self, mut fault: Fault) -> Fault {
        let width = self.width();
        for index in 0..width {
            fault = match self.value(index) {
                Ok(value) if width == 1 && fault.is_foreign() => fault.in_column(index, value),
                Ok(value) => fault.without(value),
                Err(other) => other,
            };
        }
        fault
    }

    /// The name of a column in an error.
    pub(super) fn label(self, index: usize) -> String {
        label(self.name(index).ok(), index)
    }

    fn name(self, index: usize) -> Result<&'de str, Fault> {
        let name = match self.heading {
            Some(heading) => heading
                .names(|| self.cells.names())
                .map(|names| names.get(index).unwrap_or_default()),
            None => self.cells.name(index),
        };
        name.map_err(Fault::new)
    }

    /// Refuses duplicate names. Only a struct notices them; a map would lose a column.
    fn check_distinct(self) -> Result<(), Fault> {
        if self
            .heading
            .is_some_and(|heading| heading.distinct.get().is_some())
        {
            return Ok(());
        }
        let mut seen = HashSet::new();
        for index in 0..self.width() {
            let name = self.name(index)?;
            if !seen.insert(name) {
                return Err(Fault::new(format_args!(
                    "the row has several columns with the name `{}`",
                    label(Some(name), index)
                )));
            }
        }
        if let Some(heading) = self.heading {
            heading.distinct.get_or_init(|| ());
        }
        Ok(())
    }

    fn fields<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(Fields {
            record: self,
            names,
            width: self.width(),
            next: 0,
        })
    }

    /// The field for a column whose name is not that of the field in the same place: the one of this name, or else the
    /// one that differs from it only in case, as SQLite has it for columns.
    fn field(
        self,
        names: &'static [&'static str],
        index: usize,
        name: &'de str,
    ) -> Result<&'de str, Fault> {
        if names.contains(&name) {
            return Ok(name);
        }
        let mut alike = names
            .iter()
            .filter(|field| field.eq_ignore_ascii_case(name));
        let (Some(field), None) = (alike.next(), alike.next()) else {
            return Ok(name);
        };
        for other in 0..self.width() {
            let other_name = self.name(other)?;
            if other_name == *field {
                return Ok(name);
            }
            if other != index && other_name.eq_ignore_ascii_case(field) {
                return Err(Fault::new(format_args!(
                    "the columns `{}` and `{}` differ only in case, and neither is spelled like the field `{field}`",
                    label(Some(name), index),
                    label(Some(other_name), other),
                )));
            }
        }
        Ok(field)
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.single(|column| column.$method(visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Record<'de> {
    type Error = Fault;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_seq
        deserialize_option deserialize_unit deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.check_distinct()?;
        self.fields(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(names, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let width = self.width();
        if width == len {
            visitor.visit_seq(Items {
                record: self,
                width,
                next: 0,
            })
        } else if width == 1
            && matches!(self.value(0)?, ValueRef::Blob(bytes) if bytes.len() == len)
        {
            self.single(|column| column.deserialize_tuple(len, visitor)) // `[u8; N]`
        } else {
            Err(Fault::new(format_args!(
                "a tuple of {len} is read from exactly {len} columns, the row has {width}"
            )))
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if is_one_value(name) {
            self.single(|column| column.deserialize_newtype_struct(name, visitor))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.single(|column| column.deserialize_unit_struct(name, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.single(|column| column.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

/// The columns of a row, with their names.
struct Fields<'de> {
    record: Record<'de>,
    /// The fields of the struct, or none if it is a map or serde does not say.
    names: &'static [&'static str],
    width: usize,
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        if self.next >= self.width {
            return Ok(None);
        }
        let mut name = self.record.name(self.next)?;
        if self.names.get(self.next) != Some(&name) && !self.names.is_empty() {
            name = self.record.field(self.names, self.next, name)?;
        }
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let index = self.next;
        self.next += 1;
        self.record.element(index, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.width.saturating_sub(self.next))
    }
}

/// The columns of a row, without their names.
struct Items<'de> {
    record: Record<'de>,
    width: usize,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.next >= self.width {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        self.record.element(index, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.width.saturating_sub(self.next))
    }
}
