#![allow(clippy::needless_borrows_for_generic_args)] // the references are what is tested

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::{Connection, ToSql};

use super::{Serde, ToValue, Value, bounded};
use crate::error::{Error, Result};

fn value(value: impl ToValue) -> Value {
    let by_reference = value.to_value().unwrap();
    assert_eq!(value.into_value().unwrap(), by_reference);
    by_reference
}

fn message(refused: Result<Value>) -> String {
    match refused {
        Err(Error::Parameter { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn integers_keep_their_value_at_every_limit() {
    for (converted, expected) in [
        (value(i8::MIN), i64::from(i8::MIN)),
        (value(i16::MAX), i64::from(i16::MAX)),
        (value(i32::MIN), i64::from(i32::MIN)),
        (value(i64::MIN), i64::MIN),
        (value(i64::MAX), i64::MAX),
        (value(u8::MAX), i64::from(u8::MAX)),
        (value(u16::MAX), i64::from(u16::MAX)),
        (value(u32::MAX), i64::from(u32::MAX)),
        (value(i64::MAX.unsigned_abs()), i64::MAX),
        (value(i128::from(i64::MIN)), i64::MIN),
        (value(i64::MAX as u128), i64::MAX),
        (value(7_usize), 7),
        (value(-7_isize), -7),
        (value(false), 0),
        (value(true), 1),
    ] {
        assert_eq!(converted, Value::Integer(expected));
    }
}

#[test]
fn integers_beyond_i64_are_errors_and_not_wrapped() {
    for refused in [
        (i64::MAX.unsigned_abs() + 1).to_value(),
        u64::MAX.to_value(),
        usize::MAX.to_value(),
        u128::MAX.to_value(),
        (i128::from(i64::MAX) + 1).to_value(),
        (i128::from(i64::MIN) - 1).to_value(),
        Some(u64::MAX).to_value(),
        Some(u64::MAX).into_value(),
    ] {
        let message = message(refused);
        assert!(message.contains("out of the range"), "{message}");
        assert!(!message.contains("18446744073709551615"), "{message}");
    }
}

#[test]
fn nan_is_an_error_and_every_other_float_is_kept() {
    for number in [
        0.0,
        -0.0,
        1.5,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ] {
        assert_eq!(value(number), Value::Real(number));
    }
    assert_eq!(value(0.1_f32), Value::Real(f64::from(0.1_f32)));
    for refused in [
        f64::NAN.to_value(),
        f32::NAN.to_value(),
        Some(f64::NAN).to_value(),
        Value::Real(f64::NAN).to_value(),
        Value::Real(f64::NAN).into_value(),
    ] {
        assert!(message(refused).contains("NaN"));
    }
    assert!(Value::Real(f64::NAN).to_sql().is_err());
}

#[test]
fn text_in_every_guise() {
    let text = Value::Text("Ada\0 ⚙ ä".to_owned());
    let string = String::from("Ada\0 ⚙ ä");
    assert_eq!(value(string.as_str()), text);
    assert_eq!(value(&string), text);
    assert_eq!(value(&mut string.clone()), text);
    assert_eq!(value(string.clone()), text);
    assert_eq!(value(Cow::Borrowed(string.as_str())), text);
    assert_eq!(value(Cow::<str>::Owned(string.clone())), text);
    assert_eq!(value(string.clone().into_boxed_str()), text);
    assert_eq!(value(Arc::<str>::from(string.as_str())), text);
    assert_eq!(value(Some(&&string)), text);
    assert_eq!(value('⚙'), Value::Text("⚙".to_owned()));
}

#[test]
fn bytes_in_every_guise() {
    let blob = Value::Blob(vec![0, 1, 255]);
    assert_eq!(value([0_u8, 1, 255]), blob);
    assert_eq!(value(&[0_u8, 1, 255]), blob);
    assert_eq!(value([0_u8, 1, 255].as_slice()), blob);
    assert_eq!(value(vec![0_u8, 1, 255]), blob);
    assert_eq!(value(Cow::Borrowed([0_u8, 1, 255].as_slice())), blob);
    assert_eq!(value(vec![0_u8, 1, 255].into_boxed_slice()), blob);
    assert_eq!(value(Vec::<u8>::new()), Value::Blob(Vec::new()));
}

#[test]
fn null_and_values_and_objects() {
    assert_eq!(value(()), Value::Null);
    assert_eq!(value(None::<&str>), Value::Null);
    assert_eq!(value(Some(None::<i64>)), Value::Null);
    assert_eq!(value(Value::Integer(1)), Value::Integer(1));
    assert_eq!(value(Box::new(1_i64)), Value::Integer(1));
    let object: &dyn ToValue = &"a";
    assert_eq!(value(object), Value::Text("a".to_owned()));
    let boxed: Box<dyn ToValue + Send + Sync> = Box::new(2_u8);
    assert_eq!(value(boxed), Value::Integer(2));
}

#[test]
fn from_the_usual_types() {
    assert_eq!(Value::default(), Value::Null);
    assert_eq!(Value::from(()), Value::Null);
    assert_eq!(Value::from(None::<i64>), Value::Null);
    assert_eq!(Value::from(Some("a")), Value::Text("a".to_owned()));
    assert_eq!(Value::from(true), Value::Integer(1));
    assert_eq!(Value::from(1.5_f32), Value::Real(1.5));
    assert_eq!(Value::from(&b"ab"[..]), Value::Blob(vec![97, 98]));
}

#[test]
fn what_is_moved_is_not_copied() {
    let text = String::from("some text");
    let address = text.as_ptr();
    let Value::Text(text) = Some(text).into_value().unwrap() else {
        panic!()
    };
    assert_eq!(text.as_ptr(), address);
}

#[test]
fn a_value_can_be_bound_by_rusqlite() {
    let connection = Connection::open_in_memory().unwrap();
    for (value, kind) in [
        (Value::Null, "null"),
        (Value::Integer(1), "integer"),
        (Value::Real(1.0), "real"),
        (Value::Text(String::new()), "text"),
        (Value::Blob(Vec::new()), "blob"),
    ] {
        let found: String = connection
            .query_row("SELECT typeof(?1)", [value], |row| row.get(0))
            .unwrap();
        assert_eq!(found, kind);
    }
}

#[test]
fn error_texts_are_bounded_in_characters() {
    assert_eq!(bounded("short"), "short");
    assert_eq!(bounded("ä".repeat(199)).chars().count(), 199);
    let long = bounded("ä".repeat(1_000_000));
    assert_eq!(long.chars().count(), 200);
    assert!(long.ends_with('…'));
}

#[derive(serde::Serialize)]
struct Nested(Id);

#[derive(serde::Serialize)]
struct Id(u64);

#[derive(serde::Serialize)]
struct Title(String);

#[derive(serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Item {
    Sword,
    Coins(u32),
    Named { name: String },
    Pair(u8, u8),
}

fn serde(value: impl serde::Serialize) -> Value {
    Serde(value).to_value().unwrap()
}

fn refused(value: impl serde::Serialize) -> String {
    message(Serde(value).to_value())
}

#[test]
fn what_serde_makes_one_value_of_is_that_value() {
    assert_eq!(serde(Nested(Id(7))), Value::Integer(7));
    assert_eq!(serde(Item::Sword), Value::from("sword"));
    assert_eq!(serde(Some(Item::Sword)), Value::from("sword"));
    assert_eq!(serde(None::<Item>), Value::Null);
    assert_eq!(serde(Title(String::new())), Value::from(""));
    assert_eq!(serde(Cow::Borrowed("a")), Value::from("a"));
    assert_eq!(serde('ä'), Value::from("ä"));
    assert_eq!(serde(true), Value::Integer(1));
    assert_eq!(serde(1.5_f32), Value::Real(1.5));
    assert_eq!(serde(i128::from(i64::MIN)), Value::Integer(i64::MIN));
    assert_eq!(serde(()), Value::Null);
    assert_eq!(serde([7_u8; 32]), Value::Blob(vec![7; 32]));
    assert_eq!(serde(Bytes(b"\0ab")), Value::Blob(b"\0ab".to_vec()));
    assert_eq!(serde(Bytes(b"")), Value::Blob(Vec::new()));
    assert_eq!(
        serde(std::net::Ipv4Addr::LOCALHOST),
        Value::from("127.0.0.1")
    );
}

struct Bytes(&'static [u8]);

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn what_sqlite_cannot_hold_is_refused_within_newtypes_too() {
    assert!(refused(Id(u64::MAX)).contains("out of the range"));
    assert!(refused(u128::MAX).contains("out of the range"));
    assert!(refused(Some(f64::NAN)).contains("NaN"));
}

#[test]
fn what_is_several_values_is_refused_with_the_way_to_store_it() {
    for message in [
        refused(Item::Coins(3)),
        refused(Item::Named {
            name: "secret".to_owned(),
        }),
        refused(Item::Pair(1, 2)),
        refused(std::collections::HashMap::<u8, u8>::new()),
        refused(vec!["secret"]),
        refused(Vec::<String>::new()),
        refused((1, "secret")),
        refused([1, 2]),
        refused([0_u8; 0]),
        refused([Id(1)]),
    ] {
        assert!(message.contains("`Json(value)`"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    // Whether there are bytes in it or not.
    for bytes in [vec![1_u8], Vec::new()] {
        assert!(refused(bytes).contains("serde_bytes"));
    }
}

#[test]
fn the_words_of_a_type_are_not_shown() {
    struct Stubborn;
    impl serde::Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("secret"))
        }
    }
    assert_eq!(refused(Stubborn), "the type does not serialise this value");
}

/// A time as chrono and jiff serialise it, and as the crate time does.
struct Printed(&'static str);
struct Readable(&'static str);

impl serde::Serialize for Printed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl serde::Serialize for Readable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.0)
        } else {
            (2026, 1).serialize(serializer)
        }
    }
}

#[test]
fn a_time_is_stored_in_one_form_and_text_that_looks_like_one_as_it_is() {
    let text = "2026-01-31T13:00:00+01:00";
    let stored = Value::from("2026-01-31 12:00:00.000000");
    assert_eq!(serde(Printed(text)), stored);
    assert_eq!(serde(Some(Printed(text))), stored);
    assert_eq!(serde(Readable(text)), stored);
    assert!(refused(Printed("+12026-01-31T00:00:00Z")).contains("0 to 9999"));
    assert_eq!(serde(text), Value::from(text));
    assert_eq!(serde(Title(text.to_owned())), Value::from(text));
    assert_eq!(value(text), Value::from(text));
    for other in ["2026-01-31", "12:00:00", "P1D", "no time"] {
        assert_eq!(serde(Printed(other)), Value::from(other));
        assert_eq!(serde(Readable(other)), Value::from(other));
    }
}
