//! What serde reads from a row can be written, too, with the crates that people use: the same value comes back, in a form
//! that SQLite understands, or there is an error. Never another value.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use dbm_core::prelude::*;
use dbm_tests::run;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

dbm_tests::manager!(Store);

impl Store {
    async fn new() -> Arc<Self> {
        Self::create(Config::in_memory()).await.unwrap()
    }

    #[database_safe]
    async fn query<T: DeserializeOwned + Send + 'static>(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
        value: Value,
    ) -> Result<T> {
        let all = db.query::<T>(sql, [&value]).await;
        let one = db.query_one::<T>(sql, [value]).await;
        assert_eq!(
            all.err().map(|error| error.to_string()),
            one.as_ref().err().map(ToString::to_string)
        );
        one
    }

    /// What `written` becomes in SQL, and that what is read from there is a `T` wherever it stands in a row.
    async fn round<T>(&self, written: impl ToValue) -> (Value, T)
    where
        T: DeserializeOwned + Debug + PartialEq + Send + 'static,
    {
        let value = written.to_value().unwrap();
        let read = self.query::<T>("SELECT ?1", value.clone()).await.unwrap();
        let sql = "SELECT ?1 AS a, ?1 AS B, NULL AS none, ?1 AS raw";
        let row = self.query::<Places<T>>(sql, value.clone()).await.unwrap();
        assert_eq!((&row.a, row.b.as_ref()), (&read, Some(&read)));
        assert_eq!((row.none, row.raw), (None, value.clone()));
        let (a, b) = self
            .query::<(T, Option<T>)>("SELECT ?1, ?1", value.clone())
            .await
            .unwrap();
        assert_eq!((&a, b.as_ref()), (&read, Some(&read)));
        (value, read)
    }

    async fn refused<T: DeserializeOwned + Send + 'static>(
        &self,
        value: impl Into<Value>,
    ) -> String {
        match self.query::<T>("SELECT ?1 AS c", value.into()).await {
            Err(Error::Column { column, message }) => {
                assert_eq!(column, "c");
                message
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was read"),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Places<T> {
    a: T,
    b: Option<T>,
    none: Option<T>,
    raw: Value,
}

fn refusal(parameter: impl ToValue) -> String {
    match (parameter,).into_params() {
        Err(Error::Parameter { name, message }) => {
            assert_eq!(name, "?1");
            message
        }
        other => panic!("{other:?}"),
    }
}

const FORM: &str = "2026-01-31 12:00:00.123456";

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_time_of_chrono_is_stored_in_the_form_of_sqlite_and_comes_back() {
    run(async {
        let store = Store::new().await;
        let moment = utc("2026-01-31T12:00:00.123456Z");
        assert_eq!(store.round(Serde(moment)).await, (FORM.into(), moment));
        let (form, local) = store
            .round::<DateTime<FixedOffset>>(Serde(
                "2026-01-31T17:30:00.123456+05:30"
                    .parse::<DateTime<FixedOffset>>()
                    .unwrap(),
            ))
            .await;
        assert_eq!((form, local.to_utc()), (FORM.into(), moment));
        let naive: NaiveDateTime = moment.naive_utc();
        assert_eq!(store.round(Serde(naive)).await, (FORM.into(), naive));
        assert_eq!(
            store.round(Serde(Some(moment))).await,
            (FORM.into(), moment)
        );
        let date = NaiveDate::from_ymd_opt(2026, 1, 31).unwrap();
        assert_eq!(store.round(Serde(date)).await, ("2026-01-31".into(), date));
        let time = NaiveTime::from_hms_opt(1, 2, 3).unwrap();
        assert_eq!(store.round(Serde(time)).await, ("01:02:03".into(), time));
        for year in ["+10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"] {
            assert!(refusal(Serde(utc(year))).contains("0 to 9999"));
        }
        for text in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            let (_, read) = store.round::<DateTime<Utc>>(Serde(utc(text))).await;
            assert_eq!(read, utc(text));
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_time_of_jiff_is_stored_in_the_form_of_sqlite_and_comes_back() {
    run(async {
        let store = Store::new().await;
        let moment: jiff::Timestamp = "2026-01-31T12:00:00.123456Z".parse().unwrap();
        assert_eq!(store.round(Serde(moment)).await, (FORM.into(), moment));
        let zoned: jiff::ZonedDateTime = "2026-01-31T07:00:00.123456-05:00[America/New_York]"
            .parse()
            .unwrap();
        let (form, read) = store.round::<jiff::ZonedDateTime>(Serde(&zoned)).await;
        assert_eq!((form, read.timestamp()), (FORM.into(), moment));
        let civil: jiff::civil::DateTime = "2026-01-31T12:00:00.123456".parse().unwrap();
        assert_eq!(store.round(Serde(civil)).await, (FORM.into(), civil));
        let early: jiff::Timestamp = "-000001-01-01T00:00:00Z".parse().unwrap();
        assert!(refusal(Serde(early)).contains("0 to 9999"));
        store.close().await.unwrap();
    });
}

#[test]
fn a_time_of_the_crate_time_is_stored_in_the_form_of_sqlite_and_comes_back() {
    run(async {
        let store = Store::new().await;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(1_769_860_800_123_456_000).unwrap();
        assert_eq!(store.round(Serde(moment)).await, (FORM.into(), moment));
        let east = moment.to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
        assert_eq!(store.round(Serde(east)).await, (FORM.into(), moment));
        let plain = time::PlainDateTime::new(moment.date(), moment.time());
        assert_eq!(store.round(Serde(plain)).await, (FORM.into(), plain));
        let early = moment.replace_year(-1).unwrap();
        assert!(refusal(Serde(early)).contains("0 to 9999"));
        store.close().await.unwrap();
    });
}

#[test]
fn what_sqlite_writes_itself_is_read_and_sorts_with_what_is_written() {
    run(async {
        let store = Store::new().await;
        let before = Utc::now();
        let now = store
            .query::<String>("SELECT CURRENT_TIMESTAMP || ?1", "".into())
            .await
            .unwrap();
        let moment: DateTime<Utc> = store.query("SELECT ?1", now.clone().into()).await.unwrap();
        assert!((moment - before).num_seconds().abs() < 60);
        let _: (jiff::Timestamp, OffsetDateTime, NaiveDateTime) = store
            .query("SELECT ?1, ?1, ?1", now.clone().into())
            .await
            .unwrap();
        let written = |micros| {
            let time = moment + chrono::TimeDelta::microseconds(micros);
            match Serde(time).to_value().unwrap() {
                Value::Text(text) => text,
                other => panic!("{other:?}"),
            }
        };
        assert!(written(-1) < now && now < written(0) && written(0) < written(1));
        assert_eq!(
            store
                .query::<String>(
                    "SELECT strftime('%Y-%m-%d %H:%M:%f', ?1)",
                    written(0).into()
                )
                .await
                .unwrap(),
            format!("{now}.000")
        );
        store.close().await.unwrap();
    });
}

#[test]
fn many_rows_of_times_are_read_beside_text_that_looks_like_one() {
    run(async {
        let store = Store::new().await;
        #[derive(Debug, PartialEq, Deserialize)]
        struct Event {
            text: String,
            at: DateTime<Utc>,
            until: Option<jiff::Timestamp>,
            id: Option<Uuid>,
        }
        #[derive(Debug, Deserialize)]
        struct Wrapped {
            #[serde(flatten)]
            rest: Option<Until>,
            id: i64,
        }
        #[derive(Debug, Deserialize)]
        struct Until {
            #[serde(deserialize_with = "dbm_core::column")]
            until: DateTime<Utc>,
        }
        let sql = "SELECT 'a', t, t, CASE t WHEN ?1 THEN zeroblob(16) END FROM (SELECT ?1 AS t UNION ALL SELECT '2026-01-31 12:00:01')";
        let sql = sql
            .replace(
                "SELECT 'a', t, t, CASE",
                "SELECT t AS text, t AS at, t AS until, CASE",
            )
            .replace(" END FROM", " END AS id FROM");
        let events = store.all::<Event>(&sql, FORM.into()).await.unwrap();
        assert_eq!(events[0].id, Some(Uuid::nil()));
        assert_eq!(events[1].id, None);
        for event in events {
            assert_eq!(
                event.at.timestamp_micros(),
                event.until.unwrap().as_microsecond()
            );
            assert!(event.text.starts_with("2026-01-31 12:00:0"));
        }
        let row: Wrapped = store
            .query("SELECT ?1 AS until, 1 AS id", FORM.into())
            .await
            .unwrap();
        assert_eq!(
            (row.id, row.rest.unwrap().until),
            (1, utc("2026-01-31T12:00:00.123456Z"))
        );
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn all<T: DeserializeOwned + Send + 'static>(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
        value: Value,
    ) -> Result<Vec<T>> {
        db.query(sql, [value]).await
    }
}

#[test]
fn a_uuid_is_text_or_its_bytes_and_both_are_read() {
    run(async {
        let store = Store::new().await;
        for text in [
            "550e8400-e29b-41d4-a716-446655440000",
            "00000000-0000-0000-0000-000000000000",
        ] {
            let id: Uuid = text.parse().unwrap();
            assert_eq!(store.round(Serde(id)).await, (text.into(), id));
            let blob = Value::Blob(id.as_bytes().to_vec());
            assert_eq!(store.round(id.as_bytes()).await, (blob.clone(), id));
            assert!(store.refused::<String>(blob).await.contains("found a BLOB"));
        }
        assert!(
            store
                .refused::<Uuid>(Value::Blob(vec![0; 15]))
                .await
                .contains("found a BLOB")
        );
        store.close().await.unwrap();
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToValue)]
#[serde(rename_all = "lowercase")]
enum Item {
    Sword,
    #[serde(rename = "magic wand")]
    Wand,
    Coins(u32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToValue)]
struct UserId(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToValue)]
struct Owner<T>(T);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToValue)]
#[serde(transparent)]
struct Created {
    at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToValue)]
#[serde(try_from = "String", into = "String")]
struct Email {
    name: String,
    domain: String,
}

impl From<Email> for String {
    fn from(Email { name, domain }: Email) -> Self {
        format!("{name}@{domain}")
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let (name, domain) = text.split_once('@').ok_or("no address")?;
        Ok(Self {
            name: name.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ToValue)]
struct Text<'a>(Cow<'a, str>);

#[derive(Debug, PartialEq, Serialize, Deserialize, ToValue)]
struct Key(#[serde(with = "serde_bytes")] Vec<u8>);

#[derive(Debug, PartialEq, Serialize, Deserialize, ToValue)]
struct Hash([u8; 4]);

#[test]
fn a_type_of_your_own_is_stored_as_serde_has_it_and_comes_back() {
    run(async {
        let store = Store::new().await;
        assert_eq!(
            store.round(Item::Sword).await,
            ("sword".into(), Item::Sword)
        );
        assert_eq!(
            store.round(&Some(Item::Wand)).await,
            ("magic wand".into(), Item::Wand)
        );
        assert_eq!(store.round(UserId(7)).await, (7.into(), UserId(7)));
        let owner = Owner(Some(UserId(7)));
        assert_eq!(store.round(owner.clone()).await, (7.into(), owner));
        let created = Created {
            at: utc("2026-01-31T12:00:00.123456Z"),
        };
        assert_eq!(store.round(created.clone()).await, (FORM.into(), created));
        let email = Email {
            name: "ada".to_owned(),
            domain: "example.org".to_owned(),
        };
        assert_eq!(
            store.round(email.clone()).await,
            ("ada@example.org".into(), email)
        );
        for text in [
            "",
            "a\0b",
            "2026-01-31T12:00:00+01:00",
            "2026-01-31 12:00:00.0 +00:00:00",
        ] {
            let text = Text(Cow::Borrowed(text));
            assert_eq!(
                store.round(&text).await,
                ((&*text.0).into(), Text(text.0.clone()))
            );
        }
        for bytes in [Vec::new(), vec![0, 255], vec![1; 16]] {
            assert_eq!(
                store.round(Key(bytes.clone())).await,
                (Value::Blob(bytes.clone()), Key(bytes))
            );
        }
        assert_eq!(
            store.round(Hash([1, 2, 3, 4])).await,
            (Value::Blob(vec![1, 2, 3, 4]), Hash([1, 2, 3, 4]))
        );
        assert!(refusal(Item::Coins(3)).contains("`Json(value)`"));
        assert!(refusal(UserId(u64::MAX)).contains("out of the range"));
        assert!(refusal(Owner(f64::NAN)).contains("NaN"));
        assert!(refusal(Owner(vec![1, 2])).contains("`Json(value)`"));
        let message = store.refused::<Item>("shield").await;
        assert_eq!(
            message,
            "the text is none of the variants sword, magic wand, coins"
        );
        store.close().await.unwrap();
    });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meta {
    tags: Vec<String>,
    at: Option<DateTime<Utc>>,
    item: Item,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ToValue)]
struct Settings(Json<BTreeMap<String, i64>>);

#[test]
fn json_is_written_and_read_in_every_place_of_a_row() {
    run(async {
        let store = Store::new().await;
        let meta = Meta {
            tags: vec!["a".to_owned(), "ä\0\"".to_owned()],
            at: Some(utc("2026-01-31T12:00:00Z")),
            item: Item::Coins(3),
        };
        let text = serde_json::to_string(&meta).unwrap();
        assert_eq!(
            store.round(Json(&meta)).await,
            (text.into(), Json(meta.clone()))
        );
        let any = serde_json::json!({"a": [1, 2.5, null, "x"]});
        assert_eq!(
            store.round(Json(&any)).await,
            (any.to_string().into(), Json(any))
        );
        assert_eq!(
            store.round(Json("x")).await,
            ("\"x\"".into(), Json("x".to_owned()))
        );
        let empty = Json(Vec::<i64>::new());
        assert_eq!(store.round(empty.clone()).await, ("[]".into(), empty));
        assert_eq!(
            store.round(Json(None::<i64>)).await,
            ("null".into(), Json(None::<i64>))
        );
        let settings = || Settings(Json(BTreeMap::from([("a".to_owned(), 1)])));
        assert_eq!(
            store.round(settings()).await,
            (r#"{"a":1}"#.into(), settings())
        );
        assert_eq!(
            store.round(Serde(settings())).await,
            (r#"{"a":1}"#.into(), settings())
        );
        assert_eq!(None::<Json<Meta>>.to_value().unwrap(), Value::Null);
        let row: Row = store
            .row("SELECT ?1 AS a", Json(&meta).to_value().unwrap())
            .await
            .unwrap();
        assert_eq!(row.get::<Json<Meta>>("a").unwrap().0, meta);

        // In other formats it is as if it were not there.
        let json = serde_json::to_string(&Json(&meta)).unwrap();
        assert_eq!(json, serde_json::to_string(&meta).unwrap());
        assert_eq!(serde_json::from_str::<Json<Meta>>(&json).unwrap().0, meta);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn row(&self, db: &mut ReadTransaction, sql: &str, value: Value) -> Result<Row> {
        db.query_map(sql, [value], |row| Ok(row.clone()))
            .await?
            .pop()
            .ok_or(Error::NoRows)
    }
}

#[test]
fn what_is_no_json_is_an_error_that_shows_no_value() {
    run(async {
        let store = Store::new().await;
        for (value, expected) in [
            (
                "{\"secret".into(),
                "expected JSON, found TEXT that is not JSON: line 1, column 8",
            ),
            (
                r#"{"tags":[],"at":null,"item":"sword"} secret"#.into(),
                "expected JSON, found TEXT that is not JSON: line 1, column 38",
            ),
            (
                "\"secret\"".into(),
                "expected JSON, found JSON that the type does not accept: line 1, column 8",
            ),
            (
                Value::Null,
                "expected JSON as TEXT, found NULL; a column that may be NULL is an `Option`",
            ),
            (Value::Integer(1), "expected JSON as TEXT, found an INTEGER"),
            (Value::Blob(vec![1]), "expected JSON as TEXT, found a BLOB"),
        ] {
            assert_eq!(store.refused::<Json<Meta>>(value).await, expected);
        }
        let message = store.refused::<(Meta,)>("{}").await;
        assert!(
            message.ends_with("read it as `dbm_core::Json`"),
            "{message}"
        );
        assert!(refusal(Json(HashMap::from([((1, 2), 3)]))).contains("keys of a map"));
        store.close().await.unwrap();
    });
}

#[derive(Debug, Deserialize)]
struct Buffered<T> {
    #[serde(flatten)]
    inner: Option<T>,
}

#[derive(Debug, Deserialize)]
struct Careless {
    #[serde(rename = "c")]
    _json: Json<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Careful {
    #[serde(deserialize_with = "dbm_core::column")]
    c: Json<serde_json::Value>,
}

#[test]
fn json_that_serde_buffers_is_read_as_a_column_or_is_an_error() {
    run(async {
        let store = Store::new().await;
        for value in ["{\"a\":1}", "1", "x"] {
            let error = store
                .query::<Buffered<Careless>>("SELECT ?1 AS c", value.into())
                .await
                .unwrap_err();
            let hint = "#[serde(deserialize_with = \"dbm_core::column\")]";
            assert!(error.to_string().contains(hint), "{error}");
        }
        let row: Buffered<Careful> = store
            .query("SELECT ?1 AS c", "{\"a\":1}".into())
            .await
            .unwrap();
        assert_eq!(row.inner.unwrap().c.0["a"], 1);
        store.close().await.unwrap();
    });
}

/// What the documentation says of it.
#[test]
fn a_bare_json_value_is_the_column_as_it_is() {
    run(async {
        let store = Store::new().await;
        for (value, expected) in [
            (Value::from("{\"a\":1}"), serde_json::json!("{\"a\":1}")),
            (Value::Integer(1), serde_json::json!(1)),
            (Value::Null, serde_json::json!(null)),
        ] {
            let row: HashMap<String, serde_json::Value> =
                store.query("SELECT ?1 AS c", value).await.unwrap();
            assert_eq!(row["c"], expected);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn every_form_of_parameters_takes_them() {
    run(async {
        let store = Store::new().await;
        let now = utc("2026-01-31T12:00:00.123456Z");
        let expected = (FORM.to_owned(), "sword".to_owned(), "[1]".to_owned());
        let positional = "SELECT ?1, ?2, ?3";
        let named = "SELECT :at, :item, :json";
        let id = UserId(1);
        let all = [
            (
                positional,
                (Serde(now), Item::Sword, Json([1])).into_params(),
            ),
            (positional, params![Serde(&now), Item::Sword, Json([1])]),
            (
                positional,
                (&[&Serde(now) as &dyn ToValue, &Item::Sword, &Json([1])]).into_params(),
            ),
            (
                named,
                (
                    (":at", Serde(now)),
                    (":item", Item::Sword),
                    (":json", Json([1])),
                )
                    .into_params(),
            ),
            (
                named,
                named_params! {":at": Serde(now), ":item": Item::Sword, ":json": Json([1])},
            ),
        ];
        for (sql, params) in all {
            assert_eq!(store.texts(sql, params).await.unwrap(), expected, "{sql}");
        }
        assert!(vec![Item::Sword, Item::Wand].into_params().is_ok());
        assert!(([Some(id)],).0.into_params().is_ok());
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn texts(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
        params: Result<dbm_core::BoundParams>,
    ) -> Result<(String, String, String)> {
        db.query_one(sql, params).await
    }
}
