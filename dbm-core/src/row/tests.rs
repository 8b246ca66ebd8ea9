use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Row, Rows, all, one, optional, owned};
use crate::error::{Error, Result};
use crate::params::Params;
use crate::value::Value;

fn query<T>(sql: &str, params: impl Params, read: impl FnOnce(Rows<'_>) -> Result<T>) -> Result<T> {
    let connection = Connection::open_in_memory()?;
    let mut statement = connection.prepare(sql)?;
    params.into_params()?.bind(&mut statement)?;
    read(statement.raw_query().into())
}

fn select<T: DeserializeOwned>(sql: &str) -> Result<T> {
    query(&format!("SELECT {sql}"), (), one)
}

fn row(sql: &str) -> Row {
    query(&format!("SELECT {sql}"), (), owned)
        .unwrap()
        .remove(0)
}

/// Reads the same column in both ways and checks that they agree.
fn both<T: DeserializeOwned + std::fmt::Debug + PartialEq>(sql: &str) -> Result<T> {
    let direct = select::<T>(&format!("{sql} AS c"));
    let from_row = row(&format!("{sql} AS c")).get::<T>(0);
    match (&direct, &from_row) {
        (Ok(direct), Ok(from_row)) => assert_eq!(direct, from_row),
        (Err(direct), Err(from_row)) => assert_eq!(direct.to_string(), from_row.to_string()),
        different => panic!("{sql}: {different:?}"),
    }
    direct
}

/// The message of an error about the column `c`.
fn refused<T: DeserializeOwned + std::fmt::Debug + PartialEq>(sql: &str) -> String {
    match both::<T>(sql) {
        Err(Error::Column { column, message }) => {
            assert_eq!(column, "c");
            message
        }
        other => panic!("{sql}: {other:?}"),
    }
}

fn misshapen<T: DeserializeOwned + std::fmt::Debug>(sql: &str) -> String {
    match select::<T>(sql) {
        Err(Error::RowShape { message }) => message,
        other => panic!("{sql}: {other:?}"),
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct User {
    id: u64,
    name: String,
    nick: Option<String>,
    #[serde(default)]
    admin: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Id(u64);

#[derive(Debug, PartialEq, Deserialize)]
struct Pair(i64, String);

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
    Exact(i64),
}

#[test]
fn integers_within_their_range() {
    assert_eq!(both::<i64>("9223372036854775807").unwrap(), i64::MAX);
    assert_eq!(both::<i64>("-9223372036854775807 - 1").unwrap(), i64::MIN);
    assert_eq!(
        both::<u64>("9223372036854775807").unwrap(),
        i64::MAX.unsigned_abs()
    );
    assert_eq!(both::<i128>("-1").unwrap(), -1);
    assert_eq!(both::<u128>("1").unwrap(), 1);
    assert_eq!(both::<u8>("255").unwrap(), 255);
    assert_eq!(both::<i8>("-128").unwrap(), -128);
    assert_eq!(both::<u16>("65535").unwrap(), u16::MAX);
    assert_eq!(both::<i16>("-32768").unwrap(), i16::MIN);
    assert_eq!(both::<u32>("4294967295").unwrap(), u32::MAX);
    assert_eq!(both::<i32>("-2147483648").unwrap(), i32::MIN);
    assert_eq!(both::<usize>("3").unwrap(), 3);
    assert_eq!(both::<isize>("-3").unwrap(), -3);
    for message in [
        refused::<u8>("256"),
        refused::<i8>("-129"),
        refused::<u16>("-1"),
        refused::<i32>("2147483648"),
        refused::<u64>("-1"),
        refused::<usize>("-1"),
        refused::<u128>("-1"),
    ] {
        assert!(message.contains("out of the range"), "{message}");
    }
    assert_eq!(
        refused::<u8>("256"),
        "expected u8, found an INTEGER out of the range of u8"
    );
}

#[test]
fn nothing_is_converted_in_silence() {
    assert_eq!(
        refused::<i64>("NULL"),
        "expected i64, found NULL; a column that may be NULL is an `Option`"
    );
    assert_eq!(refused::<i64>("1.0"), "expected i64, found a REAL");
    assert_eq!(refused::<i64>("'1'"), "expected i64, found TEXT");
    assert_eq!(refused::<i64>("x'01'"), "expected i64, found a BLOB");
    assert!(refused::<f64>("NULL").starts_with("expected f64, found NULL; "));
    assert_eq!(refused::<f64>("'1'"), "expected f64, found TEXT");
    assert_eq!(
        refused::<String>("1"),
        "expected a string, found an INTEGER"
    );
    assert_eq!(
        refused::<String>("x'41'"),
        "expected a string, found a BLOB"
    );
    assert_eq!(
        refused::<bool>("2"),
        "expected a boolean, found an INTEGER that is neither 0 nor 1"
    );
    assert_eq!(refused::<bool>("'true'"), "expected a boolean, found TEXT");
    assert_eq!(refused::<Vec<u8>>("'a'"), "expected a sequence, found TEXT");
    assert_eq!(refused::<()>("1"), "expected unit, found an INTEGER");
}

#[test]
fn floats_hold_what_is_exact() {
    assert_eq!(both::<f64>("0.1").unwrap(), 0.1);
    assert_eq!(both::<f64>("3").unwrap(), 3.0);
    assert_eq!(
        both::<f64>("9007199254740992").unwrap(),
        9_007_199_254_740_992.0
    );
    assert_eq!(
        both::<f64>("-9223372036854775808").unwrap(),
        -9_223_372_036_854_775_808.0
    );
    assert_eq!(both::<f64>("9e999").unwrap(), f64::INFINITY);
    assert_eq!(both::<f32>("1.5").unwrap(), 1.5);
    assert_eq!(both::<f32>("9e999").unwrap(), f32::INFINITY);
    assert_eq!(both::<f32>("16777216").unwrap(), 16_777_216.0);
    for message in [
        refused::<f64>("9007199254740993"),
        refused::<f64>("9223372036854775807"),
        refused::<f32>("16777217"),
    ] {
        assert!(message.contains("cannot hold exactly"), "{message}");
    }
    assert!(refused::<f32>("1e300").contains("out of its range"));
}

#[test]
fn text_and_characters() {
    assert_eq!(both::<String>("'Ada ⚙'").unwrap(), "Ada ⚙");
    assert_eq!(both::<String>("''").unwrap(), "");
    assert_eq!(both::<char>("'⚙'").unwrap(), '⚙');
    assert!(refused::<char>("''").contains("not exactly one"));
    assert!(refused::<char>("'ab'").contains("not exactly one"));
    assert_eq!(
        query("SELECT ?1", ("a\0b",), one::<String>).unwrap(),
        "a\0b"
    );
    let error = select::<String>("CAST(x'ff' AS TEXT) AS c").unwrap_err();
    assert!(
        matches!(&error, Error::Column { column, message } if column == "c" && message.contains("UTF-8"))
    );
    assert!(
        matches!(query("SELECT CAST(x'ff' AS TEXT) AS c", (), owned), Err(Error::Column { column, .. }) if column == "c")
    );
}

#[test]
fn bytes_by_every_path() {
    assert_eq!(both::<Vec<u8>>("x'00ff'").unwrap(), [0, 255]);
    assert_eq!(both::<Vec<u8>>("x''").unwrap(), Vec::<u8>::new());
    assert_eq!(both::<[u8; 2]>("x'00ff'").unwrap(), [0, 255]);
    assert_eq!(both::<Option<Vec<u8>>>("NULL").unwrap(), None);
    assert!(refused::<Vec<i64>>("x'00'").contains("a byte of a BLOB"));
    assert!(row("x'00ff'").get::<[u8; 3]>(0).is_err());
    assert!(misshapen::<[u8; 3]>("x'00ff'").contains("exactly 3 columns"));
    assert_eq!(select::<[i64; 3]>("1, 2, 3").unwrap(), [1, 2, 3]);
    assert_eq!(row("x'00ff'").get::<&[u8]>(0).unwrap(), [0, 255]);

    struct Bytes(Vec<u8>);
    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl serde::de::Visitor<'_> for Visitor {
                type Value = Bytes;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("bytes")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_owned()))
                }
            }
            deserializer.deserialize_byte_buf(Visitor)
        }
    }
    assert_eq!(select::<Bytes>("x'00ff'").unwrap().0, [0, 255]);

    let megabyte: Vec<u8> = (0..1 << 20)
        .map(|index: u32| index.to_le_bytes()[0])
        .collect();
    assert_eq!(
        query("SELECT ?1", (&megabyte,), one::<Vec<u8>>).unwrap(),
        megabyte
    );
    assert_eq!(
        query("SELECT ?1", (&megabyte,), one::<Bytes>).unwrap().0,
        megabyte
    );
}

#[test]
fn options_newtypes_enums_and_values() {
    assert_eq!(both::<Option<i64>>("NULL").unwrap(), None);
    assert_eq!(both::<Option<Id>>("7").unwrap(), Some(Id(7)));
    assert_eq!(both::<Id>("7").unwrap(), Id(7));
    both::<()>("NULL").unwrap();
    assert_eq!(both::<Level>("'high'").unwrap(), Level::High);
    assert_eq!(both::<Option<Level>>("'low'").unwrap(), Some(Level::Low));
    assert_eq!(
        refused::<Level>("'hidden'"),
        "the text is none of the variants low, high, exact"
    );
    assert_eq!(
        refused::<Level>("1"),
        "expected enum Level, found an INTEGER"
    );
    assert!(refused::<Level>("'exact'").contains("newtype variant"));
    assert_eq!(both::<Value>("NULL").unwrap(), Value::Null);
    assert_eq!(both::<Value>("1").unwrap(), Value::Integer(1));
    assert_eq!(both::<Value>("1.5").unwrap(), Value::Real(1.5));
    assert_eq!(both::<Value>("'a'").unwrap(), Value::Text("a".to_owned()));
    assert_eq!(both::<Value>("x'61'").unwrap(), Value::Blob(vec![97]));
    assert_eq!(both::<Option<Value>>("NULL").unwrap(), None);
    assert_eq!(
        select::<(Value, Option<Value>)>("1, 'a'").unwrap(),
        (Value::Integer(1), Some("a".into()))
    );
    assert!(misshapen::<Value>("1, 2").contains("has 2"));
}

#[test]
fn structs_by_the_names_of_columns() {
    let user = select::<User>("'Ada' AS name, 1 AS id, 9 AS unknown, NULL AS nick").unwrap();
    assert_eq!(
        user,
        User {
            id: 1,
            name: "Ada".to_owned(),
            nick: None,
            admin: false
        }
    );
    assert!(
        select::<User>("'Ada' AS name, 1 AS id, 1 AS admin")
            .unwrap()
            .admin
    );
    assert_eq!(
        misshapen::<User>("1 AS id"),
        "the type needs a column `name`, which the row does not have"
    );
    assert!(misshapen::<User>("1 AS id, 2 AS id, 'a' AS name").contains("several columns"));
    assert!(matches!(
        select::<User>("'Ada' AS name, -1 AS id"),
        Err(Error::Column { column, message }) if column == "id" && message.contains("u64")
    ));

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[allow(dead_code)]
        id: u64,
    }
    assert!(misshapen::<Strict>("1 AS id, 2 AS x").contains("`x`"));

    #[derive(Debug, Deserialize)]
    struct Nested {
        #[allow(dead_code)]
        user: User,
    }
    assert!(matches!(
        select::<Nested>("'{}' AS user"),
        Err(Error::Column { column, message }) if column == "user" && message.contains("one column cannot hold")
    ));

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        pair: BTreeMap<String, i64>,
        name: String,
    }
    let flat = select::<Flat>("1 AS a, 2 AS b, 'x' AS name").unwrap();
    assert_eq!(
        flat.pair,
        BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)])
    );
}

#[test]
fn columns_match_fields_in_any_case_and_exactly_first() {
    let ada = |sql| {
        let user = select::<User>(sql).unwrap();
        assert_eq!((user.id, user.name.as_str()), (1, "Ada"), "{sql}");
        user
    };
    ada("1 AS ID, 'Ada' AS Name");
    ada("'Ada' AS NAME, 9 AS Other, 1 AS Id");
    assert_eq!(
        ada("1 AS id, 'Ada' AS name, 'A' AS NICK").nick.unwrap(),
        "A"
    );
    ada("2 AS ID, 1 AS id, 'Ada' AS name");
    ada("1 AS id, 2 AS ID, 'Bob' AS Name, 'Ada' AS name");
    let message = misshapen::<User>("1 AS ID, 1 AS Id, 'Ada' AS name");
    assert_eq!(
        message,
        "the columns `ID` and `Id` differ only in case, and neither is spelled like the field `id`"
    );

    #[derive(Debug, PartialEq, Deserialize)]
    struct Cased {
        a: i64,
        #[serde(rename = "A")]
        upper: i64,
    }
    assert_eq!(
        select::<Cased>("1 AS A, 2 AS a").unwrap(),
        Cased { a: 2, upper: 1 }
    );

    let sql = "SELECT i AS ID, 'Ada' AS NAME FROM (SELECT 1 AS i UNION ALL SELECT 2)";
    assert_eq!(query(sql, (), all::<User>).unwrap()[1].id, 2);
    let maps = select::<BTreeMap<String, i64>>("1 AS a, 2 AS A").unwrap();
    assert_eq!(maps.len(), 2);

    let row = row("1 AS Id, 2 AS a, 3 AS A, 4 AS b, 5 AS B");
    assert_eq!(row.get::<i64>("ID").unwrap(), 1);
    assert_eq!(row.get::<i64>("A").unwrap(), 3);
    assert!(row.get::<i64>("b").is_ok());
    let row = self::row("1 AS Aa, 2 AS aA");
    assert!(
        row.get::<i64>("AA")
            .unwrap_err()
            .to_string()
            .contains("several")
    );
}

/// What a time and a UUID do: text of one form, read from a string.
#[derive(Debug, PartialEq)]
struct Spelled<const KIND: char>(String);

impl<'de, const KIND: char> Deserialize<'de> for Spelled<KIND> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = match KIND {
            'Z' => text.ends_with('Z') && text.contains("26-01-31T12"),
            'T' => text.contains("26-01-31T12") && !text.ends_with('Z'),
            'u' => {
                text.len() == 36
                    && text
                        .bytes()
                        .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
            }
            'w' => !text.contains(' '), // any word
            _ => unreachable!(),
        };
        match fits {
            true => Ok(Self(text)),
            false => Err(serde::de::Error::custom("not in this form")),
        }
    }
}

type Moment = Spelled<'Z'>;
type Civil = Spelled<'T'>;
type Uuid = Spelled<'u'>;
type Word = Spelled<'w'>;

#[test]
fn a_time_as_sqlite_spells_it_is_read_by_the_types_of_times() {
    let now = "'2026-01-31 12:00:00'";
    let moment = Spelled("2026-01-31T12:00:00Z".to_owned());
    assert_eq!(both::<Moment>(now).unwrap(), moment);
    assert_eq!(both::<Option<Moment>>(now).unwrap(), Some(moment));
    assert_eq!(both::<Option<Moment>>("NULL").unwrap(), None);
    assert_eq!(both::<Civil>(now).unwrap().0, "2026-01-31T12:00:00");
    assert_eq!(
        both::<Moment>("'2026-01-31 12:00:00.123456'").unwrap().0,
        "2026-01-31T12:00:00.123456Z"
    );
    assert_eq!(
        both::<Moment>("'2026-01-31T12:00Z'").unwrap().0,
        "2026-01-31T12:00Z"
    );
    assert_eq!(both::<String>(now).unwrap(), "2026-01-31 12:00:00");
    assert_eq!(refused::<Word>(now), "not in this form");
    assert_eq!(
        refused::<Moment>("'2026-02-31 12:00:00'"),
        "not in this form"
    );

    #[derive(Debug, Deserialize)]
    struct Times {
        a: Moment,
        text: String,
        b: Option<Civil>,
        c: Moment,
        n: i64,
    }
    let row = format!("SELECT 1 AS n, {now} AS c, {now} AS b, {now} AS text, {now} AS a");
    let times = query(&format!("{row} UNION ALL {row}"), (), all::<Times>).unwrap();
    assert_eq!(times.len(), 2);
    for times in times {
        assert_eq!(times.a, times.c);
        assert_eq!(times.text, "2026-01-31 12:00:00");
        assert_eq!(times.b.unwrap().0, "2026-01-31T12:00:00");
        assert_eq!(times.n, 1);
    }
    let wrong = format!("{now} AS a, {now} AS b, 1 AS c, {now} AS text, 1 AS n");
    assert!(matches!(select::<Times>(&wrong), Err(Error::Column { column, .. }) if column == "c"));
    assert_eq!(
        misshapen::<Times>(&format!("{now} AS a, {now} AS b, {now} AS c, 1 AS n")),
        "the type needs a column `text`, which the row does not have"
    );
    let (moment, text) = select::<(Moment, String)>(&format!("{now}, {now}")).unwrap();
    assert_eq!((moment.0.len(), text.len()), (20, 19));
    assert!(select::<(Word, Moment)>(&format!("{now}, {now}")).is_err());
}

#[test]
fn a_uuid_is_read_from_its_bytes_and_text_is_not() {
    let bytes = "x'550e8400e29b41d4a716446655440000'";
    let uuid = Spelled("550e8400-e29b-41d4-a716-446655440000".to_owned());
    assert_eq!(both::<Uuid>(bytes).unwrap(), uuid);
    assert_eq!(both::<Option<Uuid>>(bytes).unwrap(), Some(uuid));
    assert_eq!(
        both::<Uuid>("zeroblob(16)").unwrap().0,
        "00000000-0000-0000-0000-000000000000"
    );
    for short in ["x''", "zeroblob(15)", "zeroblob(17)"] {
        assert!(refused::<Uuid>(short).contains("found a BLOB"));
    }
    assert!(refused::<String>("zeroblob(16)").contains("found a BLOB"));
    assert!(refused::<Word>("zeroblob(16)").contains("found a BLOB"));
    assert_eq!(both::<[u8; 16]>("zeroblob(16)").unwrap(), [0; 16]);
}

#[test]
fn structs_that_wrap_or_choose() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapper(User);
    assert_eq!(select::<Wrapper>("1 AS id, 'Ada' AS name").unwrap().0.id, 1);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number { number: i64 },
        Text { text: String },
    }
    assert_eq!(
        select::<Either>("1 AS number").unwrap(),
        Either::Number { number: 1 }
    );
    assert_eq!(
        select::<Either>("'a' AS text").unwrap(),
        Either::Text {
            text: "a".to_owned()
        }
    );
    assert!(misshapen::<Either>("1.5 AS other, 2.5 AS b").contains("did not match any variant"));

    #[derive(Debug, Deserialize)]
    #[serde(try_from = "(String, i64)")]
    struct Checked;
    impl TryFrom<(String, i64)> for Checked {
        type Error = String;
        fn try_from((text, _): (String, i64)) -> Result<Self, String> {
            Err(format!("not {text}"))
        }
    }
    assert_eq!(
        misshapen::<Checked>("'secret', 1"),
        "the type does not accept this value"
    );
}

#[test]
fn maps_keep_every_column() {
    let map = select::<HashMap<String, Option<i64>>>("1 AS a, NULL AS b").unwrap();
    assert_eq!(
        map,
        HashMap::from([("a".to_owned(), Some(1)), ("b".to_owned(), None)])
    );
    let values = select::<BTreeMap<String, Value>>("1 AS a, 'x' AS b").unwrap();
    assert_eq!(values["b"], Value::Text("x".to_owned()));
    assert!(misshapen::<HashMap<String, i64>>("1 AS a, 2 AS a").contains("`a`"));
}

#[test]
fn tuples_of_exactly_as_many_columns() {
    assert_eq!(
        select::<(i64, String)>("1, 'a'").unwrap(),
        (1, "a".to_owned())
    );
    assert_eq!(select::<(i64,)>("1").unwrap(), (1,));
    assert_eq!(select::<Pair>("1, 'a'").unwrap(), Pair(1, "a".to_owned()));
    assert_eq!(
        misshapen::<(i64, i64)>("1"),
        "a tuple of 2 is read from exactly 2 columns, the row has 1"
    );
    assert_eq!(
        misshapen::<(i64, i64)>("1, 2, 3"),
        "a tuple of 2 is read from exactly 2 columns, the row has 3"
    );
    assert_eq!(
        misshapen::<Pair>("1"),
        "a tuple of 2 is read from exactly 2 columns, the row has 1"
    );
    assert!(
        matches!(select::<(i64, i64)>("1 AS a, 'x' AS b"), Err(Error::Column { column, .. }) if column == "b")
    );
}

#[test]
fn scalars_of_exactly_one_column() {
    for message in [
        misshapen::<i64>("1, 2"),
        misshapen::<String>("'a', 'b'"),
        misshapen::<Option<i64>>("NULL, NULL"),
        misshapen::<Vec<u8>>("x'00', x'00'"),
        misshapen::<bool>("1, 1"),
        misshapen::<()>("NULL, NULL"),
        misshapen::<Level>("'low', 'low'"),
    ] {
        assert_eq!(
            message,
            "a single value is read from exactly 1 column, the row has 2"
        );
    }
}

#[test]
fn none_one_and_many_rows() {
    let none = "SELECT 1 WHERE 0";
    let two = "SELECT 1 UNION ALL SELECT 2";
    assert_eq!(query(none, (), all::<i64>).unwrap(), Vec::<i64>::new());
    assert_eq!(query(two, (), all::<i64>).unwrap(), [1, 2]);
    assert!(matches!(query(none, (), one::<i64>), Err(Error::NoRows)));
    assert!(matches!(
        query(two, (), one::<i64>),
        Err(Error::TooManyRows)
    ));
    assert_eq!(query(none, (), optional::<i64>).unwrap(), None);
    assert_eq!(query("SELECT 1", (), optional::<i64>).unwrap(), Some(1));
    assert!(matches!(
        query(two, (), optional::<i64>),
        Err(Error::TooManyRows)
    ));
    assert_eq!(query(none, (), owned).unwrap(), Vec::new());
    assert_eq!(
        query("CREATE TABLE t(a)", (), all::<User>).unwrap(),
        Vec::new()
    );
    let overflow = "SELECT abs(a) FROM (SELECT 1 AS a UNION ALL SELECT -9223372036854775808)";
    assert!(matches!(
        query(overflow, (), all::<i64>),
        Err(Error::Sqlite(..))
    ));
}

#[test]
fn an_owned_row() {
    let row = row("1 AS id, 'Ada' AS name, NULL AS nick, 2 AS twice, 3 AS twice");
    assert_eq!(row.len(), 5);
    assert!(!row.is_empty());
    assert_eq!(
        row.column_names().collect::<Vec<_>>(),
        ["id", "name", "nick", "twice", "twice"]
    );
    assert_eq!(row.get::<u64>("id").unwrap(), 1);
    assert_eq!(row.get::<&str>("name").unwrap(), "Ada");
    assert_eq!(row.get::<Option<&str>>("nick").unwrap(), None);
    assert_eq!(row.get::<i64>(4).unwrap(), 3);
    assert_eq!(
        row.get_value("name").unwrap(),
        &Value::Text("Ada".to_owned())
    );
    assert_eq!(row.get_value(2).unwrap(), &Value::Null);
    for (column, hint, error) in [
        ("#5", "only 5 columns", row.get::<i64>(5).unwrap_err()),
        ("#5", "only 5 columns", row.get_value(5).unwrap_err()),
        (
            "names",
            "no such column",
            row.get::<String>("names").unwrap_err(),
        ),
        (
            "twice",
            "several columns",
            row.get::<i64>("twice").unwrap_err(),
        ),
        (
            "name",
            "expected i64, found TEXT",
            row.get::<i64>("name").unwrap_err(),
        ),
        (
            "nick",
            "expected a borrowed string, found NULL",
            row.get::<&str>("nick").unwrap_err(),
        ),
        (
            "id",
            "one column cannot hold",
            row.get::<User>("id").unwrap_err(),
        ),
        (
            "id",
            "one column cannot hold",
            row.get::<HashMap<String, i64>>("id").unwrap_err(),
        ),
    ] {
        match error {
            Error::Column {
                column: found,
                message,
            } => {
                assert_eq!(found, column);
                assert!(message.contains(hint), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(format!("{row:?}").contains("\"id\": Integer(1)"));
    assert_eq!(row, row.clone());
}

#[test]
fn error_texts_are_bounded_and_hold_no_value() {
    #[derive(Debug, PartialEq)]
    struct Picky;
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(serde::de::Error::custom(if text.starts_with('!') {
                "no marks".into()
            } else {
                format!("not {text}")
            }))
        }
    }
    assert_eq!(
        refused::<Picky>("'secret'"),
        "the type does not accept this value"
    );
    assert_eq!(refused::<Picky>("'!'"), "no marks");
    assert_eq!(
        refused::<Picky>("replace(hex(zeroblob(5000)), '0', 'long')"),
        "the type does not accept this value"
    );
    assert!(!refused::<std::net::IpAddr>("'10.0.0.secret'").contains("secret"));

    let name = "n".repeat(5000);
    match select::<i64>(&format!("'x' AS {name}")) {
        Err(Error::Column { column, .. }) => assert_eq!(column.chars().count(), 200),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_column_name_that_is_not_utf8_is_an_error() {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1); PRAGMA writable_schema = ON;")
        .unwrap();
    connection
        .execute(
            "UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424c45207428ff29' AS TEXT)",
            (),
        )
        .unwrap();
    connection
        .execute_batch("PRAGMA writable_schema = RESET")
        .unwrap();
    let mut statement = connection.prepare("SELECT * FROM t").unwrap();
    assert_eq!(one::<i64>(statement.raw_query().into()).unwrap(), 1);
    assert!(
        matches!(one::<String>(statement.raw_query().into()), Err(Error::Column { column, .. }) if column == "#0")
    );
    let message = one::<User>(statement.raw_query().into())
        .unwrap_err()
        .to_string();
    assert!(message.contains("not UTF-8"), "{message}");
    assert!(owned(statement.raw_query().into()).is_err());
}

#[test]
fn many_rows_of_structs() {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
               SELECT i AS id, 'user ' || i AS name FROM n";
    let users = query(sql, (), all::<User>).unwrap();
    assert_eq!(users.len(), 1000);
    assert_eq!(
        (users[999].id, users[999].name.as_str()),
        (1000, "user 1000")
    );
    let maps = query(sql, (), all::<HashMap<String, Value>>).unwrap();
    assert_eq!(maps[999]["id"], Value::Integer(1000));
    let twice = "SELECT 1 AS a, 2 AS a";
    assert!(matches!(
        query(twice, (), all::<HashMap<String, i64>>),
        Err(Error::RowShape { .. })
    ));
    let second = "SELECT 1 AS id, 'a' AS name UNION ALL SELECT 2, NULL";
    let error = query(second, (), all::<User>).unwrap_err();
    assert!(matches!(
        error,
        Error::Column { column, message } if column == "name" && message.ends_with("`Option` (row 2)")
    ));
    let error = query(second, (), owned).unwrap()[1].get::<String>("name");
    assert!(!error.unwrap_err().to_string().contains("row"));
    let rows = query(sql, (), owned).unwrap();
    assert_eq!(rows[999].get::<String>("name").unwrap(), "user 1000");
}

/// The same rows from both sources, as values and as errors.
#[cfg(feature = "remote")]
#[test]
fn an_answer_is_read_like_a_statement() {
    fn shown<T: std::fmt::Debug>(read: Result<T>) -> String {
        read.map_or_else(|error| error.to_string(), |read| format!("{read:?}"))
    }

    fn same<T: DeserializeOwned + std::fmt::Debug>(sql: &str) {
        let rows = query(sql, (), owned).unwrap();
        let values = rows.iter().flat_map(|row| row.values.clone()).collect();
        let names = rows.iter().take(1).flat_map(Row::column_names);
        let answer = super::Answer::of_rows(names, values);
        assert_eq!(answer.len(), rows.len());
        let of_answer = shown(one::<T>((&answer).into()));
        assert_eq!(of_answer, shown(query(sql, (), one::<T>)), "{sql}");
        let of_answer = shown(all::<T>((&answer).into()));
        assert_eq!(of_answer, shown(query(sql, (), all::<T>)), "{sql}");
        assert_eq!(owned((&answer).into()).unwrap(), rows, "{sql}");
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is shown")]
    struct Thing {
        id: u8,
        name: Option<String>,
    }

    same::<Thing>("SELECT 1 AS id, 'a' AS name");
    same::<Thing>("SELECT 1 AS ID, NULL AS name UNION ALL SELECT 2, 'b'");
    same::<Thing>("SELECT 1 AS id, 'a' AS name UNION ALL SELECT 256, 'b'");
    same::<Thing>("SELECT 1 AS id, 'a' AS id");
    same::<Thing>("SELECT 1 AS other");
    same::<(i64, String)>("SELECT 1, 'a' UNION ALL SELECT 2, 'b'");
    same::<(i64, String)>("SELECT 1 AS a, 2 AS b");
    same::<(i64, String)>("SELECT 1");
    same::<i64>("SELECT 1 UNION ALL SELECT 2");
    same::<i64>("SELECT 1 WHERE FALSE");
    same::<Vec<u8>>("SELECT x'00ff'");
    same::<bool>("SELECT 1");
    same::<bool>("SELECT 2 AS flag");
}
