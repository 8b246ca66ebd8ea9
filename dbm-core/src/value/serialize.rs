//! One value, as serde serialises it.

use std::cell::Cell;
use std::fmt::Display;

use serde_core::Serialize;
use serde_core::ser::{self, Impossible, SerializeTuple, Serializer};

use super::{ToValue, Value, refused, time};
use crate::error::{Error, Result};

/// A parameter of any type with serde's `Serialize` that is one value: what serde makes of it is what is stored, and what
/// a row of the same type reads.
///
/// It is for types of other crates: times, UUIDs, enums. For a type of your own, `#[derive(ToValue)]` has the same
/// effect without it.
///
/// | what serde makes of it | in SQL |
/// |---|---|
/// | a number, a `bool`, text, a character | as without `Serde` |
/// | a unit variant of an enum | its name, as TEXT |
/// | a newtype | what is in it |
/// | `None`, `()`, a unit struct | NULL |
/// | bytes (serde_bytes), an array of `u8` | BLOB |
/// | a date with a time (chrono, jiff, time) | TEXT in UTC, `YYYY-MM-DD HH:MM:SS.ffffff`, as `CURRENT_TIMESTAMP` has it but with microseconds; so they sort together |
///
/// A time keeps its moment, not its zone, and what is less than a microsecond is cut off. Without a zone it is stored as
/// it is. Text of your own is never taken for a time.
///
/// ```
/// use dbm_core::{Serde, ToValue, Value};
///
/// #[derive(serde::Serialize)]
/// #[serde(rename_all = "lowercase")]
/// enum Item {
///     Sword,
/// }
///
/// assert_eq!(Serde(Item::Sword).to_value().unwrap(), Value::Text("sword".to_owned()));
/// assert!(Serde(vec![1, 2]).to_value().is_err()); // several values: `Json`
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serde<T>(pub T);

impl<T: Serialize> ToValue for Serde<T> {
    /// # Errors
    /// [`Error::Parameter`] if it is not one value, or if SQLite cannot hold it unchanged. For times these are leap
    /// seconds, and years before 0 or after 9999.
    fn to_value(&self) -> Result<Value> {
        value_of(&self.0)
    }
}

/// The value that serde makes of `value`. `#[derive(ToValue)]` names it.
///
/// # Errors
/// Those of [`Serde`].
pub fn value_of<T: Serialize>(value: &T) -> Result<Value> {
    let origin = Cell::default();
    let serializer = OneValue {
        origin: &origin,
        is_readable: true,
    };
    let made = value
        .serialize(serializer)
        .map_err(|Refused(error)| error)?;
    if let Value::Text(text) = &made
        && let Some(stored) = time::stored(text)
        && (origin.get() == Origin::Printed || !is_text_everywhere(value))
    {
        return stored.map(Value::Text);
    }
    Ok(made)
}

/// Whether it is text in formats that no one reads, too. A string is; a time is text only for people.
fn is_text_everywhere(value: &impl Serialize) -> bool {
    let serializer = OneValue {
        origin: &Cell::default(),
        is_readable: false,
    };
    matches!(value.serialize(serializer), Ok(Value::Text(_)))
}

/// The name by which a `Json` identifies itself to serde.
#[cfg(feature = "json")]
pub(crate) const JSON_NAME: &str = "$dbm_core::Json";

#[cfg(feature = "json")]
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<Value> {
    // serde_json's own words may quote the value.
    serde_json::to_string(value)
        .map(Value::Text)
        .map_err(|_| refused("JSON cannot hold this value; the keys of a map have to be text"))
}

/// Serialises one value. It is strict: what is several values is refused.
#[derive(Clone, Copy)]
struct OneValue<'a> {
    origin: &'a Cell<Origin>,
    is_readable: bool,
}

/// What a value does not show of where it comes from.
#[derive(Clone, Copy, PartialEq, Default)]
enum Origin {
    #[default]
    Other,
    /// A text that the type made with `Display`. A string does not do so, a time does.
    Printed,
    Byte,
}

/// Why it is not one value.
#[derive(Debug)]
struct Refused(Error);

impl Refused {
    fn several<T>(what: &str) -> Result<T, Self> {
        Err(Self(refused(format_args!(
            "{what} is not one value; `Json(value)` stores it as JSON"
        ))))
    }

    /// serde does not say whether a sequence is of bytes, and an empty one does not show it.
    fn sequence<T>() -> Result<T, Self> {
        Self::several("a sequence (of bytes: give the field `#[serde(with = \"serde_bytes\")]`)")
    }
}

impl Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    /// The words of another type may quote the value.
    fn custom<T: Display>(_: T) -> Self {
        Self(refused("the type does not serialise this value"))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

macro_rules! scalars {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, value: $type) -> Result<Value, Refused> {
            Ok(value.to_value()?)
        }
    )*};
}

impl<'a> Serializer for OneValue<'a> {
    type Ok = Value;
    type Error = Refused;
    type SerializeSeq = Impossible<Value, Refused>;
    type SerializeTuple = Array<'a>;
    type SerializeTupleStruct = Impossible<Value, Refused>;
    type SerializeTupleVariant = Impossible<Value, Refused>;
    type SerializeMap = Impossible<Value, Refused>;
    type SerializeStruct = Impossible<Value, Refused>;
    type SerializeStructVariant = Impossible<Value, Refused>;

    scalars! {
        serialize_bool bool
        serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_i128 i128
        serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_u128 u128
        serialize_f32 f32 serialize_f64 f64
        serialize_char char serialize_str &str serialize_bytes &[u8]
    }

    fn serialize_u8(self, value: u8) -> Result<Value, Refused> {
        self.origin.set(Origin::Byte);
        Ok(value.into())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Value, Refused> {
        self.origin.set(Origin::Printed);
        Ok(Value::Text(value.to_string()))
    }

    fn serialize_none(self) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Refused> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Refused> {
        #[cfg(feature = "json")]
        if name == JSON_NAME {
            return Ok(json(value)?);
        }
        let _ = name;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Refused> {
        Refused::several("a variant with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Refused> {
        Refused::sequence()
    }

    fn serialize_tuple(self, length: usize) -> Result<Array<'a>, Refused> {
        Ok(Array {
            bytes: Vec::with_capacity(length),
            element: self,
        })
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Refused> {
        Refused::several("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Refused> {
        Refused::several("a variant with data")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Refused> {
        Refused::several("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Refused> {
        Refused::several("a struct with fields")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Refused> {
        Refused::several("a variant with data")
    }

    fn is_human_readable(&self) -> bool {
        self.is_readable
    }
}

/// An array. serde makes a tuple of it; only one of `u8` is one value.
struct Array<'a> {
    bytes: Vec<u8>,
    element: OneValue<'a>,
}

impl SerializeTuple for Array<'_> {
    type Ok = Value;
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let origin = self.element.origin;
        origin.set(Origin::Other);
        match (value.serialize(self.element)?, origin.get()) {
            (Value::Integer(byte), Origin::Byte) => {
                self.bytes.extend(u8::try_from(byte));
                Ok(())
            }
            _ => Refused::several("a tuple"),
        }
    }

    fn end(self) -> Result<Value, Refused> {
        if self.bytes.is_empty() {
            return Refused::several("an empty array");
        }
        Ok(Value::Blob(self.bytes))
    }
}
