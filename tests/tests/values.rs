//! Values that serde buffers before a type reads them (`flatten`, untagged and internally tagged enums): what is in the
//! row, or an error that names the cause. Never another value, and never `None` in the place of one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_tests::run;
use serde::Deserialize;

dbm_tests::manager!(Store);

impl Store {
    async fn new() -> Arc<Self> {
        Self::create(Config::in_memory()).await.unwrap()
    }

    /// By both ways a row is read.
    #[database_safe]
    async fn both<T>(&self, db: &mut ReadTransaction, sql: &str) -> Result<T>
    where
        T: for<'de> Deserialize<'de> + Send + 'static,
    {
        let sql = format!("SELECT {sql}");
        let mut all = db.query::<T>(&sql, ()).await;
        let one = db.query_one::<T>(&sql, ()).await;
        assert_eq!(
            all.as_ref().err().map(ToString::to_string),
            one.as_ref().err().map(ToString::to_string)
        );
        if let Ok(all) = &mut all {
            drop(all.remove(0));
        }
        one
    }
}

const FIX: &str = "#[serde(deserialize_with = \"dbm_core::column\")]";

#[derive(Debug, PartialEq, Deserialize)]
struct Order {
    id: i64,
    #[serde(flatten)]
    customer: Option<Customer>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Customer {
    name: String,
    #[serde(deserialize_with = "dbm_core::column")]
    trusted: bool,
    #[serde(deserialize_with = "dbm_core::column")]
    key: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Careless {
    id: i64,
    #[serde(flatten)]
    flag: Option<Flag>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Flag {
    name: String,
    trusted: bool,
}

#[test]
fn a_join_that_finds_nothing_is_none_and_one_that_finds_something_is_not() {
    run(async {
        let store = Store::new().await;
        let found = "1 AS id, 'Ada' AS name, 1 AS trusted, NULL AS key";
        assert_eq!(
            store.both::<Order>(found).await.unwrap(),
            Order {
                id: 1,
                customer: Some(Customer {
                    name: "Ada".to_owned(),
                    trusted: true,
                    key: None
                })
            }
        );
        for nothing in [
            "1 AS id, NULL AS name, NULL AS trusted, NULL AS key",
            "1 AS id",
        ] {
            let row = store.both::<Order>(nothing).await.unwrap();
            assert_eq!(row.customer, None, "{nothing}");
            let row = store.both::<Careless>(nothing).await.unwrap();
            assert_eq!(row.flag, None, "{nothing}");
        }
        // The value of `id` is that of `trusted`, too.
        let error = store.both::<Careless>(found).await.unwrap_err();
        assert!(
            matches!(&error, Error::Column { column, message } if column == "trusted" && message.contains(FIX)),
            "{error}"
        );
        let error = store
            .both::<Order>("1 AS id, 'Ada' AS name, 2 AS trusted, NULL AS key")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "column trusted: expected a boolean, found an INTEGER that is neither 0 nor 1"
        );
        store.close().await.unwrap();
    });
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Any {
    Whole(i64),
    Broken(f64),
    Text(String),
    Nothing(()),
}

#[derive(Debug, PartialEq, Deserialize)]
struct WithRest {
    id: i64,
    direct: Any,
    #[serde(flatten)]
    rest: BTreeMap<String, Any>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Shape {
    Number { v: i64 },
    Text { v: String },
    Nothing { v: () },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Shown {
    id: i64,
    #[serde(flatten)]
    shape: Shape,
    #[serde(flatten)]
    flag: Option<Named>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Named {
    name: String,
}

#[test]
fn an_enum_that_takes_one_type_or_another_goes_on_to_do_so() {
    run(async {
        let store = Store::new().await;
        let row = store
            .both::<WithRest>(
                "1 AS id, 'x' AS direct, 9007199254740993 AS a, 0.5 AS b, 'x' AS c, NULL AS d, 1 AS e",
            )
            .await
            .unwrap();
        assert_eq!(row.direct, Any::Text("x".to_owned()));
        let rest: Vec<_> = row.rest.into_values().collect();
        assert_eq!(
            rest,
            [
                Any::Whole(9_007_199_254_740_993),
                Any::Broken(0.5),
                Any::Text("x".to_owned()),
                Any::Nothing(()),
                Any::Whole(1)
            ]
        );
        for (sql, shape) in [
            ("1", Shape::Number { v: 1 }),
            ("'1'", Shape::Text { v: "1".to_owned() }),
            ("NULL", Shape::Nothing { v: () }),
        ] {
            // A struct that is there beside an enum that refuses other texts.
            let sql = format!("1 AS id, {sql} AS v, 'Ada' AS name");
            let row = store.both::<Shown>(&sql).await.unwrap();
            assert_eq!(row.shape, shape, "{sql}");
            assert!(row.flag.is_some(), "{sql}");
        }
        let error = store.both::<Shown>("1 AS id, 'x' AS v, 5 AS name").await;
        assert!(
            matches!(&error, Err(Error::Column { column, .. }) if column == "name"),
            "{error:?}"
        );
        let values = store
            .both::<HashMap<String, Value>>("9007199254740993 AS a, 1 AS b")
            .await
            .unwrap();
        assert_eq!(values["a"], Value::Integer(9_007_199_254_740_993));
        store.close().await.unwrap();
    });
}

#[derive(Debug, PartialEq, Deserialize)]
struct Rest<T> {
    id: i64,
    #[serde(flatten)]
    rest: HashMap<String, T>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Switch(#[serde(deserialize_with = "dbm_core::column")] bool);

#[test]
fn a_map_of_the_rest_holds_what_is_in_the_row_or_is_an_error() {
    run(async {
        let store = Store::new().await;
        let sql = "1 AS id, 1 AS a, 0 AS b";
        let row = store.both::<Rest<Switch>>(sql).await.unwrap();
        assert_eq!(
            (&row.rest["a"], &row.rest["b"]),
            (&Switch(true), &Switch(false))
        );
        let error = store.both::<Rest<bool>>(sql).await.unwrap_err();
        assert!(error.to_string().contains(FIX), "{error}");
        let error = store.both::<Rest<Vec<u8>>>("1 AS id, x'00' AS a").await;
        assert!(error.unwrap_err().to_string().contains(FIX));
        let error = store
            .both::<Rest<f64>>("1 AS id, 9007199254740993 AS a")
            .await;
        assert!(error.unwrap_err().to_string().contains(FIX));
        let row = store
            .both::<Rest<Value>>("1 AS id, x'00' AS a")
            .await
            .unwrap();
        assert_eq!(row.rest["a"], Value::Blob(vec![0]));
        store.close().await.unwrap();
    });
}

#[test]
fn the_elements_of_a_tuple_and_an_only_column_are_no_exception() {
    run(async {
        let store = Store::new().await;
        let (any, id) = store.both::<(Any, i64)>("'x', 1").await.unwrap();
        assert_eq!((any, id), (Any::Text("x".to_owned()), 1));
        for (sql, expected) in [
            ("9007199254740993", Any::Whole(9_007_199_254_740_993)),
            ("0.5", Any::Broken(0.5)),
            ("'x'", Any::Text("x".to_owned())),
            ("NULL", Any::Nothing(())),
        ] {
            assert_eq!(store.both::<Any>(sql).await.unwrap(), expected, "{sql}");
        }
        let rounded = store.both::<(Broken,)>("9007199254740993").await;
        assert!(rounded.unwrap_err().to_string().contains(FIX));
        let rounded = store.both::<Broken>("9007199254740993").await;
        assert!(rounded.is_err(), "{rounded:?}");
        assert_eq!(
            store.both::<Broken>("2").await.unwrap(),
            Broken::Number(2.0)
        );
        store.close().await.unwrap();
    });
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Broken {
    Number(f64),
}
