use std::fmt::Debug;

use rusqlite::Connection;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::{all, one};
use crate::error::{Error, Result};
use crate::value::Value;

const FIX: &str = "#[serde(deserialize_with = \"dbm_core::column\")]";

/// Reads a row in both ways.
fn select<T: DeserializeOwned>(sql: &str) -> Result<T> {
    let connection = Connection::open_in_memory()?;
    let mut statement = connection.prepare(&format!("SELECT {sql}"))?;
    let all = all::<T>(statement.raw_query().into()).map(drop);
    let one = one(statement.raw_query().into());
    assert_eq!(
        all.err().map(|error| error.to_string()),
        one.as_ref().err().map(ToString::to_string)
    );
    one
}

#[derive(Deserialize)]
struct Plain<T> {
    v: T,
}

#[derive(Deserialize)]
struct Helped<T> {
    #[serde(
        deserialize_with = "super::column",
        bound(deserialize = "T: DeserializeOwned")
    )]
    v: T,
}

trait Inner<T>: DeserializeOwned {
    fn into_value(self) -> T;
}

impl<T: DeserializeOwned> Inner<T> for Plain<T> {
    fn into_value(self) -> T {
        self.v
    }
}

impl<T: DeserializeOwned> Inner<T> for Helped<T> {
    fn into_value(self) -> T {
        self.v
    }
}

#[derive(Deserialize)]
struct Flat<I> {
    #[serde(rename = "id")]
    _id: i64,
    #[serde(flatten)]
    inner: I,
}

#[derive(Deserialize)]
struct Joined<I> {
    #[serde(rename = "id")]
    _id: i64,
    #[serde(flatten, bound(deserialize = "I: DeserializeOwned"))]
    inner: Option<I>,
}

#[derive(Deserialize)]
struct Deep<I> {
    #[serde(flatten, bound(deserialize = "I: DeserializeOwned"))]
    outer: Option<Joined<I>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Tagged<I> {
    Inner(I),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Untagged<I> {
    Inner(I),
    Other {
        #[serde(rename = "id")]
        _id: i64,
    },
}

/// Reads a value through the buffer in every way.
fn read<T, I: Inner<T>>(sql: &str) -> [Result<T>; 5] {
    let flat = format!("1 AS id, {sql} AS v");
    let value = |inner: Option<I>| match inner {
        Some(inner) => Ok(inner.into_value()),
        None => Err(Error::other("it became None")),
    };
    [
        select::<Flat<I>>(&flat).and_then(|row| value(Some(row.inner))),
        select::<Joined<I>>(&flat).and_then(|row| value(row.inner)),
        select::<Deep<I>>(&flat).and_then(|row| value(row.outer.and_then(|row| row.inner))),
        select::<Tagged<I>>(&format!("'Inner' AS kind, {sql} AS v"))
            .and_then(|Tagged::Inner(inner)| value(Some(inner))),
        select::<Untagged<I>>(&flat).and_then(|row| match row {
            Untagged::Inner(inner) => value(Some(inner)),
            Untagged::Other { .. } => value(None),
        }),
    ]
}

fn are<T: Debug + PartialEq>(read: [Result<T>; 5], expected: &T, sql: &str) {
    for value in read {
        assert_eq!(value.as_ref().ok(), Some(expected), "{sql}: {value:?}");
    }
}

fn refuse<T: Debug>(read: [Result<T>; 5], sql: &str, expected: &str) {
    for value in read {
        match value {
            Err(Error::Column { message, .. } | Error::RowShape { message }) => {
                assert!(message.contains(expected), "{sql}: {message}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

macro_rules! reads {
    ($inner:ident: $($type:ty: $($sql:literal => $value:expr),+;)*) => {$($({
        let expected: $type = $value;
        are(read::<$type, $inner<$type>>($sql), &expected, $sql);
    })+)*};
}

macro_rules! refuses {
    ($inner:ident, $message:expr; $($type:ty: $($sql:literal),+;)*) => {$($(
        refuse(read::<$type, $inner<$type>>($sql), $sql, $message);
    )+)*};
}

#[derive(Debug, PartialEq, Deserialize)]
struct Id(u64);

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(Id);

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Even(String);

impl TryFrom<String> for Even {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.len() % 2 {
            0 => Ok(Self(text)),
            _ => Err(format!("{text} is odd")),
        }
    }
}

#[test]
fn what_the_buffer_keeps_is_read_as_it_is() {
    reads! { Plain:
        i8: "-128" => -128;
        i16: "-32768" => -32768;
        i32: "-2147483648" => i32::MIN;
        i64: "9223372036854775807" => i64::MAX, "-9223372036854775808" => i64::MIN;
        u8: "255" => 255;
        u16: "65535" => 65535;
        u32: "4294967295" => u32::MAX;
        u64: "9223372036854775807" => i64::MAX.unsigned_abs();
        usize: "7" => 7;
        f64: "0.1" => 0.1, "3" => 3.0, "9007199254740992" => 9_007_199_254_740_992.0, "9e999" => f64::INFINITY;
        f32: "1.5" => 1.5, "16777216" => 16_777_216.0;
        char: "'⚙'" => '⚙';
        String: "'Ada'" => "Ada".to_owned(), "''" => String::new();
        Option<i64>: "5" => Some(5), "9223372036854775807" => Some(i64::MAX), "NULL" => None;
        Option<String>: "'x'" => Some("x".to_owned()), "NULL" => None;
        Id: "5" => Id(5);
        Wrapped: "5" => Wrapped(Id(5));
        Level: "'low'" => Level::Low, "'high'" => Level::High;
        Even: "'ab'" => Even("ab".to_owned());
        Value: "9223372036854775807" => Value::Integer(i64::MAX), "x'00'" => Value::Blob(vec![0]), "NULL" => Value::Null;
        (): "NULL" => ();
    }
}

#[test]
fn what_the_buffer_loses_is_an_error_that_names_the_fix() {
    refuses! { Plain, FIX;
        bool: "1", "0";
        Option<bool>: "1";
        Vec<u8>: "x'00ff'", "x''";
        Option<Vec<u8>>: "x'00'";
        [u8; 2]: "x'00ff'";
        i128: "1";
        u128: "1";
        f64: "9007199254740993", "9223372036854775807";
        Option<f64>: "-9007199254740993";
    }
}

#[test]
fn what_does_not_fit_is_an_error_in_an_option_of_a_flattened_struct_too() {
    refuses! { Plain, "";
        i64: "'text'", "1.5", "x'01'";
        u8: "256", "-1";
        u64: "-1";
        f64: "'1'", "x'01'";
        String: "1", "0.5";
        char: "'ab'", "''", "1";
        bool: "7", "'true'", "1.0";
        Level: "'middle'", "1";
        Even: "'abc'", "1";
        Id: "-5", "'5'";
        Vec<i64>: "x'01'", "1";
        (): "1";
    }
}

/// The same as for a column that is not buffered.
#[test]
fn the_helper_reads_a_buffered_field_strictly() {
    reads! { Helped:
        bool: "1" => true, "0" => false;
        Option<bool>: "1" => Some(true), "NULL" => None;
        Vec<u8>: "x'00ff'" => vec![0, 255], "x''" => vec![];
        Option<Vec<u8>>: "x'00'" => Some(vec![0]), "NULL" => None;
        [u8; 2]: "x'00ff'" => [0, 255];
        i128: "-1" => -1;
        u128: "1" => 1;
        u64: "1" => 1;
        i8: "-128" => -128;
        f64: "3" => 3.0, "0.1" => 0.1;
        f32: "1.5" => 1.5;
        char: "'⚙'" => '⚙';
        Id: "5" => Id(5);
        Level: "'low'" => Level::Low;
        Value: "x'00'" => Value::Blob(vec![0]), "9223372036854775807" => Value::Integer(i64::MAX);
    }
    refuses! { Helped, "";
        bool: "2", "'true'", "1.0", "x'01'";
        Option<bool>: "2";
        Vec<u8>: "1", "'a'";
        Option<Vec<u8>>: "'a'";
        [u8; 2]: "x'00'";
        i128: "'1'";
        u128: "-1";
        u64: "-1";
        i8: "-129";
        f64: "9007199254740993", "'1'";
        f32: "16777217", "1e300", "'1'";
        char: "'ab'";
        String: "x'41'";
        Id: "-5";
        Level: "'middle'";
    }
}
