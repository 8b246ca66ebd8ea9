//! One value of a row, deserialized by serde.

use std::str;

use rusqlite::types::ValueRef;
use serde_core::de::value::BorrowedStrDeserializer;
use serde_core::de::{DeserializeSeed, Deserializer, Expected, SeqAccess, Visitor};
use serde_core::forward_to_deserialize_any;

use super::fault::{Fault, NOT_UTF8};
use super::refusal::Refusals;
#[cfg(feature = "json")]
use crate::value::JSON_NAME;

/// A column of a row. It is strict: SQLite's type and the range must fit the requested type.
#[derive(Clone, Copy)]
pub(super) struct Column<'de>(pub(super) ValueRef<'de>);

impl<'de> Column<'de> {
    fn text(self, expected: &dyn Expected) -> Result<&'de str, Fault> {
        match self.0 {
            ValueRef::Text(text) => str::from_utf8(text).map_err(|_| Fault::new(NOT_UTF8)),
            other => Err(Fault::mismatch(expected, other)),
        }
    }

    fn blob(self, expected: &dyn Expected) -> Result<&'de [u8], Fault> {
        match self.0 {
            ValueRef::Blob(bytes) => Ok(bytes),
            other => Err(Fault::mismatch(expected, other)),
        }
    }

    /// A floating point number. `exact` tells whether the type can hold an integer without rounding.
    fn real(self, expected: &dyn Expected, exact: impl Fn(i64) -> bool) -> Result<f64, Fault> {
        match self.0 {
            ValueRef::Real(number) => Ok(number),
            #[allow(clippy::cast_precision_loss)] // checked: it is exact
            ValueRef::Integer(number) if exact(number) => Ok(number as f64),
            ValueRef::Integer(_) => Err(Fault::new(format_args!(
                "expected {expected}, found an INTEGER it cannot hold exactly"
            ))),
            other => Err(Fault::mismatch(expected, other)),
        }
    }

    fn nested<T>(self, expected: &dyn Expected) -> Result<T, Fault> {
        Err(Fault::new(format_args!(
            "expected {expected}, which one column cannot hold: it has {}{}",
            super::fault::kind(self.0),
            match self.0 {
                ValueRef::Text(_) => "; if that is JSON, read it as `dbm_core::Json`",
                _ => "",
            }
        )))
    }
}

/// Whether a floating point number can hold an integer without rounding.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // that is what is being checked
pub(super) fn is_exact(number: i64) -> bool {
    (number as f64) as i128 == i128::from(number)
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0 {
                ValueRef::Integer(number) => match $type::try_from(number) {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(Fault::new(format_args!(
                        "expected {}, found an INTEGER out of the range of {}",
                        &visitor as &dyn Expected,
                        stringify!($type),
                    ))),
                },
                other => Err(Fault::mismatch(&visitor, other)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Column<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Integer(number) => {
                if !is_exact(number) {
                    Refusals::note_something();
                }
                visitor.visit_i64(number)
            }
            ValueRef::Real(number) => visitor.visit_f64(number),
            ValueRef::Text(_) => visitor.visit_borrowed_str(self.text(&"text")?),
            ValueRef::Blob(bytes) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            ValueRef::Integer(0) => visitor.visit_bool(false),
            ValueRef::Integer(1) => visitor.visit_bool(true),
            ValueRef::Integer(_) => Err(Fault::new(
                "expected a boolean, found an INTEGER that is neither 0 nor 1",
            )),
            other => Err(Fault::mismatch(&visitor, other)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.real(&visitor, is_exact)?;
        visitor.visit_f64(number)
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // that is what is being checked
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.real(&visitor, |number| {
            (number as f32) as i128 == i128::from(number)
        })?;
        let narrow = number as f32;
        if narrow.is_infinite() && number.is_finite() {
            return Err(Fault::new("expected f32, found a REAL out of its range"));
        }
        visitor.visit_f32(narrow)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let mut characters = self.text(&visitor)?.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => visitor.visit_char(character),
            _ => Err(Fault::new(
                "expected a character, found TEXT that is not exactly one",
            )),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text(&visitor)?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let bytes = self.blob(&visitor)?;
        visitor.visit_borrowed_bytes(bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    /// `Vec<u8>` requests a sequence and `[u8; N]` a tuple. Both get the bytes of a BLOB.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let mut bytes = Bytes(self.blob(&visitor)?);
        let value = visitor.visit_seq(&mut bytes)?;
        if bytes.0.is_empty() {
            Ok(value)
        } else {
            Err(Fault::new("the BLOB is longer than the type that reads it"))
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let bytes = self.blob(&visitor)?;
        if bytes.len() == len {
            self.deserialize_seq(visitor)
        } else {
            Err(Fault::new(format_args!(
                "expected {}, found a BLOB of {} bytes",
                &visitor as &dyn Expected,
                bytes.len()
            )))
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.nested(&visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.nested(&visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.nested(&visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            other => Err(Fault::mismatch(&visitor, other)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        #[cfg(feature = "json")]
        if name == JSON_NAME {
            let text = self.text(&visitor)?;
            return visitor.visit_borrowed_str(text);
        }
        let _ = name;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant = self.text(&visitor)?;
        visitor.visit_enum(BorrowedStrDeserializer::new(variant))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

/// The bytes of a BLOB that have not been read yet.
struct Bytes<'de>(&'de [u8]);

impl<'de> SeqAccess<'de> for Bytes<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        match self.0.split_first() {
            None => Ok(None),
            Some((byte, rest)) => {
                self.0 = rest;
                seed.deserialize(Byte(*byte)).map(Some)
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// One byte of a BLOB. It deserializes only as `u8`, so that no `Vec<i64>` is read from a BLOB by mistake.
struct Byte(u8);

impl<'de> Deserializer<'de> for Byte {
    type Error = Fault;

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::new(format_args!(
            "expected {}, found a byte of a BLOB",
            &visitor as &dyn Expected
        )))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}
