#![allow(clippy::needless_borrows_for_generic_args)] // the references are what is tested

use std::rc::Rc;

use rusqlite::Connection;

use super::{BoundParams, Params};
use crate::error::{Error, Result};
use crate::value::{ToValue, Value};

/// Binds to a statement that returns each of its parameters, and reads them back as text.
fn echo(sql: &str, params: impl Params) -> Result<Vec<String>> {
    let params = params.into_params()?;
    let connection = Connection::open_in_memory()?;
    let mut statement = connection.prepare(sql)?;
    params.bind(&mut statement)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let row = rows.next()?.unwrap();
    Ok((0..columns).map(|index| row.get(index).unwrap()).collect())
}

#[test]
fn positional_in_every_form() {
    let sql = "SELECT quote(?1), quote(?2)";
    let text = String::from("b");
    assert_eq!(echo(sql, (1, "b")).unwrap(), ["1", "'b'"]);
    assert_eq!(echo(sql, (1, &text)).unwrap(), ["1", "'b'"]);
    assert_eq!(echo(sql, &(1, &text)).unwrap(), ["1", "'b'"]);
    assert_eq!(echo(sql, ("a", None::<i64>)).unwrap(), ["'a'", "NULL"]);
    assert_eq!(echo(sql, ([1_u8, 2], 0.5)).unwrap(), ["X'0102'", "0.5"]);
    assert_eq!(echo(sql, [1, 2]).unwrap(), ["1", "2"]);
    assert_eq!(echo(sql, &[1, 2]).unwrap(), ["1", "2"]);
    assert_eq!(echo(sql, [1, 2].as_slice()).unwrap(), ["1", "2"]);
    assert_eq!(echo(sql, vec!["a", "b"]).unwrap(), ["'a'", "'b'"]);
    assert_eq!(
        echo(sql, &vec![Value::Null, Value::Integer(3)]).unwrap(),
        ["NULL", "3"]
    );
    assert_eq!(
        echo(sql, &[&1 as &dyn ToValue, &"b"]).unwrap(),
        ["1", "'b'"]
    );
    assert_eq!(
        echo(sql, &[&1 as &dyn ToValue, &"b"][..]).unwrap(),
        ["1", "'b'"]
    );
    assert_eq!(echo(sql, params![1, text]).unwrap(), ["1", "'b'"]);
    assert_eq!(echo(sql, params![1, text,].unwrap()).unwrap(), ["1", "'b'"]);
    assert_eq!(echo("SELECT '1'", ()).unwrap(), ["1"]);
    assert_eq!(
        echo("SELECT quote(:a), quote(@b)", (1, 2)).unwrap(),
        ["1", "2"]
    );
    assert_eq!(
        echo("SELECT quote(?), quote(?)", (1, 2)).unwrap(),
        ["1", "2"]
    );
}

#[test]
fn sixteen_of_a_kind() {
    let sql = "SELECT quote(?1), quote(?16)";
    let given = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    assert_eq!(echo(sql, given).unwrap(), ["1", "16"]);
    let macro_given = params![
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    ];
    assert_eq!(
        echo("SELECT quote(?1), quote(?18)", macro_given).unwrap(),
        ["1", "18"]
    );
}

#[test]
fn named_in_every_form() {
    let sql = "SELECT quote(:a), quote(:b), quote(:a)";
    let expected = ["1", "'x'", "1"];
    assert_eq!(echo(sql, ((":a", 1), (":b", "x"))).unwrap(), expected);
    assert_eq!(echo(sql, ((":b", "x"), (":a", 1))).unwrap(), expected);
    assert_eq!(
        echo(sql, named_params! {":a": 1, ":b": "x"}).unwrap(),
        expected
    );
    assert_eq!(
        echo(sql, [(":a", &1 as &dyn ToValue), (":b", &"x")]).unwrap(),
        expected
    );
    assert_eq!(
        echo(sql, &[(":a", Value::Integer(1)), (":b", "x".into())]).unwrap(),
        expected
    );
    assert_eq!(
        echo(sql, &[(":a", Value::Integer(1)), (":b", "x".into())][..]).unwrap(),
        expected
    );
    let name = String::from(":a");
    assert_eq!(
        echo(
            sql,
            vec![(name.as_str(), Value::Integer(1)), (":b", "x".into())]
        )
        .unwrap(),
        expected
    );
    assert_eq!(
        echo(
            "SELECT quote(@a), quote($b), quote(?3)",
            (("@a", 1), ("$b", 2), ("?3", 3))
        )
        .unwrap()
        .len(),
        3
    );
    assert_eq!(echo("SELECT quote(:ä)", ((":ä", 1),)).unwrap(), ["1"]);
}

#[test]
fn counts_must_agree() {
    for (expected, given, result) in [
        (1, 0, echo("SELECT quote(?)", ())),
        (0, 1, echo("SELECT 1", (1,))),
        (2, 1, echo("SELECT ?, ?", (1,))),
        (2, 3, echo("SELECT ?, ?", (1, 2, 3))),
        (2, 0, echo("SELECT ?, ?", Vec::<i64>::new())),
        (3, 1, echo("SELECT ?3", params![1])),
        (1, 0, echo("SELECT ?", params![])),
    ] {
        match result {
            Err(Error::ParameterCount {
                expected: e,
                given: g,
            }) => assert_eq!((e, g), (expected, given)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_must_agree() {
    let long = format!(":{}", "x".repeat(1000));
    for (expected, hint, result) in [
        (
            ":b",
            "not a parameter",
            echo("SELECT :a", ((":a", 1), (":b", 2))),
        ),
        ("a", "not a parameter", echo("SELECT :a", (("a", 1),))),
        (":A", "not a parameter", echo("SELECT :a", ((":A", 1),))),
        (":a\0", "not a parameter", echo("SELECT :a", ((":a\0", 1),))),
        ("", "not a parameter", echo("SELECT :a", (("", 1),))),
        (":b", "has no value", echo("SELECT :a, :b", ((":a", 1),))),
        ("?2", "no name", echo("SELECT :a, ?", ((":a", 1),))),
        (":a", "twice", echo("SELECT :a, :b", ((":a", 1), (":a", 2)))),
        (":a", "has no value", echo("SELECT :a", named_params! {})),
        (
            &format!(":{}…", "x".repeat(198)),
            "not a parameter",
            echo("SELECT 1", ((long.as_str(), 1),)),
        ),
    ] {
        match result {
            Err(Error::Parameter { name, message }) => {
                assert_eq!(name, expected);
                assert!(message.contains(hint), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_failed_conversion_names_its_place() {
    for (expected, result) in [
        ("?2", (1, u64::MAX).into_params()),
        ("?1", [f64::NAN].into_params()),
        ("?1", (&[f64::NAN]).into_params()),
        ("?3", params![1, 2, u64::MAX]),
        (":b", ((":a", 1), (":b", u64::MAX)).into_params()),
        (
            ":b",
            named_params! {":a": 1, ":b": Some(f32::NAN)}.into_params(),
        ),
    ] {
        match result {
            Err(Error::Parameter { name, .. }) => assert_eq!(name, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_error_of_a_users_type_gets_its_place_too() {
    struct Odd;
    impl ToValue for Odd {
        fn to_value(&self) -> Result<Value> {
            Err(Error::NoRows)
        }
    }
    assert!(matches!((1, Odd).into_params(), Err(Error::Parameter { name, .. }) if name == "?2"));
}

#[test]
fn a_cached_statement_keeps_nothing_of_its_last_use() {
    let connection = Connection::open_in_memory().unwrap();
    let sql = "SELECT quote(:a) || quote(:b)";
    for (a, b, expected) in [
        (Some(1), Some(2), "12"),
        (None, Some(3), "NULL3"),
        (Some(4), None, "4NULL"),
    ] {
        let mut statement = connection.prepare_cached(sql).unwrap();
        named_params! {":a": a, ":b": b}
            .unwrap()
            .bind(&mut statement)
            .unwrap();
        let mut rows = statement.raw_query();
        assert_eq!(
            rows.next().unwrap().unwrap().get::<_, String>(0).unwrap(),
            expected
        );
    }
    let mut statement = connection.prepare_cached(sql).unwrap();
    assert!(BoundParams::default().bind(&mut statement).is_err());
}

#[test]
fn large_and_odd_values_arrive_whole() {
    let connection = Connection::open_in_memory().unwrap();
    let text = "ä\0⚙".repeat(150_000);
    let blob = vec![7_u8; 1 << 20];
    let mut statement = connection
        .prepare("SELECT ?1, ?2, length(CAST(?1 AS BLOB))")
        .unwrap();
    (&text, &blob)
        .into_params()
        .unwrap()
        .bind(&mut statement)
        .unwrap();
    let mut rows = statement.raw_query();
    let row = rows.next().unwrap().unwrap();
    assert_eq!(row.get::<_, String>(0).unwrap(), text);
    assert_eq!(row.get::<_, Vec<u8>>(1).unwrap(), blob);
    assert_eq!(row.get::<_, usize>(2).unwrap(), text.len());
}

#[test]
fn parameters_may_cross_an_await_and_show_no_values() {
    fn is_send<T: Send + 'static>(_: &T) {}
    async fn statement(params: impl Params) {
        drop(params.into_params());
    }
    is_send(&async {
        let name = String::from("a");
        statement(params![*Rc::new(name), Rc::new(1).as_ref()]).await;
        statement(named_params! {":a": Rc::new(1).as_ref()}).await;
    });
    let rc = Rc::new(String::from("secret"));
    let bound = params![*rc, rc.as_str()];
    is_send(&bound);
    is_send(&(1, "a").into_params());
    assert_eq!(format!("{:?}", bound.unwrap()), "BoundParams(2 positional)");
    let named = named_params! {":key": rc.as_str()}.unwrap();
    assert_eq!(format!("{named:?}"), "BoundParams{\":key\"}");
    assert_eq!(
        format!("{:?}", ().into_params().unwrap()),
        "BoundParams(none)"
    );
}

/// What fits a statement fits its parameters by number, and what does not is the same error.
#[cfg(feature = "remote")]
#[test]
fn values_in_the_order_of_the_parameters_are_checked_like_those_that_are_bound() {
    let connection = Connection::open_in_memory().unwrap();
    let same = |sql: &str, params: &BoundParams| {
        let mut statement = connection.prepare(sql).unwrap();
        let names: Vec<_> = (1..=statement.parameter_count())
            .map(|number| statement.parameter_name(number).map(str::to_owned))
            .collect();
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        let bound = params.bind(&mut statement);
        let ordered = params.in_order(&names);
        let ordered = ordered.map(|values| values.into_iter().cloned().collect::<Vec<_>>());
        let shown = |error: &Error| error.to_string();
        assert_eq!(
            bound.as_ref().err().map(shown),
            ordered.as_ref().err().map(shown),
            "{sql}"
        );
        ordered
    };
    for count in 0..4 {
        let given = vec![7; count].into_params().unwrap();
        assert_eq!(same("SELECT ?, ?", &given).is_ok(), count == 2);
        assert_eq!(same("SELECT 1", &given).is_ok(), count == 0);
    }
    let named = |pairs: &[(&str, i64)]| pairs.into_params().unwrap();
    let given = same("SELECT :a, @b", &named(&[("@b", 2), (":a", 1)])).unwrap();
    assert_eq!(given, [Value::Integer(1), Value::Integer(2)]);
    for pairs in [
        &[(":a", 1)][..],
        &[(":a", 1), (":a", 2)],
        &[(":a", 1), (":c", 2)],
        &[("a", 1), ("@b", 2)],
    ] {
        assert!(same("SELECT :a, @b", &named(pairs)).is_err());
    }
    assert!(same("SELECT :a, ?", &named(&[(":a", 1)])).is_err());
}
