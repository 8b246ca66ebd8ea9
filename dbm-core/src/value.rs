//! Values written to the database: [`Value`] and [`ToValue`].

mod serialize;
pub(crate) mod time;

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_core::de::{self, Deserialize, Deserializer, Visitor};

use crate::error::{Error, Result};

#[cfg(feature = "json")]
pub(crate) use serialize::{JSON_NAME, json};
pub use serialize::{Serde, value_of};

/// One value as SQLite stores it: a parameter of a statement, or a column of a [`Row`](crate::Row).
///
/// As a parameter it is checked like any other, so a `Real` that is NaN is refused. It can also be read with
/// [`Row::get`](crate::Row::get) or a query, if the type of a column is not known beforehand.
///
/// ```
/// # use dbm_core::prelude::*;
/// # async fn f(db: &mut ReadTransaction) -> Result<()> {
/// let settings: Vec<(String, Value)> = db.query("SELECT name, value FROM setting", ()).await?;
/// # let _ = settings; Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `NULL`.
    #[default]
    Null,
    /// A signed 64-bit integer. SQLite has no booleans: they are 0 and 1.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Value::Real(number) if number.is_nan() => {
                Err(rusqlite::Error::ToSqlConversionFailure(NAN.into()))
            }
            value => Ok(ToSqlOutput::Borrowed(value.into())),
        }
    }
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $convert:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $convert
            }
        }
    )*};
}

value_from! {
    () => |_unit| Value::Null;
    bool => |value| Value::Integer(value.into());
    i8 => |value| Value::Integer(value.into());
    i16 => |value| Value::Integer(value.into());
    i32 => |value| Value::Integer(value.into());
    i64 => |value| Value::Integer(value);
    u8 => |value| Value::Integer(value.into());
    u16 => |value| Value::Integer(value.into());
    u32 => |value| Value::Integer(value.into());
    f32 => |value| Value::Real(value.into());
    f64 => |value| Value::Real(value);
    char => |value| Value::Text(value.into());
    &str => |value| Value::Text(value.into());
    String => |value| Value::Text(value);
    &[u8] => |value| Value::Blob(value.into());
    Vec<u8> => |value| Value::Blob(value);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A type that can be a parameter of a statement.
///
/// The conversion can fail, because it never changes a value. An integer beyond [`i64`] is an error rather than
/// wrapped. NaN is an error because SQLite would store `NULL` instead. `None` and `()` are `NULL`.
///
/// A newtype or an enum gets it by `#[derive(ToValue)]` beside serde's `Serialize`; then what serde makes of it is stored
/// ([`Serde`]). By hand it needs no serde:
///
/// ```
/// use dbm_core::{Result, ToValue, Value};
///
/// struct UserId(u64);
///
/// impl ToValue for UserId {
///     fn to_value(&self) -> Result<Value> {
///         self.0.to_value()
///     }
/// }
///
/// assert_eq!(UserId(7).to_value().unwrap(), Value::Integer(7));
/// assert!(UserId(u64::MAX).to_value().is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a statement",
    label = "not an SQL value",
    note = "numbers, `bool`, text, bytes and `Option`s of them can",
    note = "a type of your own: `#[derive(serde::Serialize, dbm_core::ToValue)]`",
    note = "a type of another crate, such as a time or a UUID: `dbm_core::Serde(value)`",
    note = "several values in one: `dbm_core::Json(value)`, with the feature `json`"
)]
pub trait ToValue {
    /// The value that is passed to SQLite.
    ///
    /// # Errors
    /// [`Error::Parameter`] if SQLite cannot hold this value unchanged.
    fn to_value(&self) -> Result<Value>;

    /// The same, for a caller that no longer needs `self`: text and bytes are moved, not copied.
    ///
    /// # Errors
    /// The same as [`to_value`](ToValue::to_value).
    fn into_value(self) -> Result<Value>
    where
        Self: Sized,
    {
        self.to_value()
    }
}

const NAN: &str = "NaN is not a number SQLite can store";

/// An error about a parameter. The caller adds its position.
fn refused(message: impl Display) -> Error {
    Error::Parameter {
        name: String::new(),
        message: bounded(message),
    }
}

macro_rules! infallible {
    ($($type:ty),*) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> Result<Value> {
                Ok(Value::from(*self))
            }
        }
    )*};
}

infallible!((), bool, i8, i16, i32, i64, u8, u16, u32, char);

macro_rules! checked_integer {
    ($($type:ident),*) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> Result<Value> {
                i64::try_from(*self).map(Value::Integer).map_err(|_| {
                    refused(concat!("this ", stringify!($type), " is out of the range of an SQLite INTEGER (i64)"))
                })
            }
        }
    )*};
}

checked_integer!(isize, i128, u64, usize, u128);

impl ToValue for f64 {
    fn to_value(&self) -> Result<Value> {
        if self.is_nan() {
            Err(refused(NAN))
        } else {
            Ok(Value::Real(*self))
        }
    }
}

impl ToValue for f32 {
    fn to_value(&self) -> Result<Value> {
        f64::from(*self).to_value()
    }
}

impl ToValue for str {
    fn to_value(&self) -> Result<Value> {
        Ok(self.into())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Result<Value> {
        self.as_str().to_value()
    }

    fn into_value(self) -> Result<Value> {
        Ok(Value::Text(self))
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Result<Value> {
        Ok(self.into())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Result<Value> {
        self.as_slice().to_value()
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Result<Value> {
        self.as_slice().to_value()
    }

    fn into_value(self) -> Result<Value> {
        Ok(Value::Blob(self))
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Result<Value> {
        self.clone().into_value()
    }

    fn into_value(self) -> Result<Value> {
        match self {
            Value::Real(number) => number.to_value(),
            value => Ok(value),
        }
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Result<Value> {
        self.as_ref().map_or(Ok(Value::Null), T::to_value)
    }

    fn into_value(self) -> Result<Value> {
        self.map_or(Ok(Value::Null), T::into_value)
    }
}

macro_rules! by_reference {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> ToValue for $type {
            fn to_value(&self) -> Result<Value> {
                (**self).to_value()
            }
        }
    )*};
}

by_reference! {
    [T: ToValue + ?Sized] &T;
    [T: ToValue + ?Sized] &mut T;
    [T: ToValue + ?Sized] Box<T>;
    [T: ToValue + ?Sized] Arc<T>;
    [T: ToValue + ToOwned + ?Sized] Cow<'_, T>;
}

/// The name by which a [`Value`] identifies itself to serde, so that a row of one column is read as a scalar.
const VALUE_NAME: &str = "$dbm_core::Value";

/// Whether it is a type of this crate that is read from one column, whatever the column holds.
pub(crate) fn is_one_value(name: &str) -> bool {
    #[cfg(feature = "json")]
    if name == JSON_NAME {
        return true;
    }
    name == VALUE_NAME
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE_NAME, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NULL, a number, text or bytes")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| {
            E::invalid_value(de::Unexpected::Unsigned(value), &"an integer within i64")
        })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(value.into())
    }
}

/// The text of an error, cut off after 200 characters.
pub(crate) fn bounded(text: impl Display) -> String {
    struct Bounded(String, usize);

    impl Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                self.1 = self.1.checked_sub(1).ok_or(fmt::Error)?;
                self.0.push(character);
            }
            Ok(())
        }
    }

    let mut bounded = Bounded(String::new(), 199);
    if write!(bounded, "{text}").is_err() {
        bounded.0.push('…');
    }
    bounded.0
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "tried on a bare connection")]
mod tests;
