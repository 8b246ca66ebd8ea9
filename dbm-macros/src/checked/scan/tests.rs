use super::*;

/// The texts that are found in a body, with how many parameters are given and columns wanted.
fn found(body: &str) -> Vec<(String, Option<usize>, Option<usize>)> {
    let body = body
        .parse()
        .unwrap_or_else(|error| panic!("{body}: {error}"));
    let found = statements(body, "db").into_iter().map(|statement| {
        let given = statement.given.map(|given| match given {
            Given::Positional(count) => count,
            Given::Named(names) => names.len(),
        });
        (statement.text.sql, given, statement.columns)
    });
    found.collect()
}

fn texts(body: &str) -> Vec<String> {
    found(body).into_iter().map(|(text, ..)| text).collect()
}

#[test]
fn every_kind_of_text_is_found() {
    for body in [
        r#"db.execute("A", ()).await?;"#,
        r##"db.execute(r#"A"#, ()).await?;"##,
        r#"db.execute(&"A", ()).await?;"#,
        r#"db.execute(concat!("", "A"), ()).await?;"#,
        r#"db.execute(::core::concat!("A"), ()).await?;"#,
        r#"db.execute(sql!("A"), ()).await?;"#,
        r#"db.execute(dbm_core::sql!("A"), ()).await?;"#,
        r#"let sql = "A"; db.execute(sql, ()).await?;"#,
        r#"let sql: &str = "A"; if x { loop { db.execute(&sql, ()).await?; } }"#,
        r#"db.execute(SQL, ()).await?; const SQL: &str = "A";"#,
        r#"static SQL: &'static str = concat!("A"); match x { _ => db.execute(SQL, ()).await? }"#,
        r#"Ok(db.execute("A", ()).await? > 0)"#,
        r#"assert_eq!(db.query_one::<i64>("A", ()).await?, 0);"#,
        r#"let rows = async { db.query::<(A, fn() -> B)>("A", ()).await };"#,
        r#"if let Some(x) = db.query_optional("A", ()).await? {}"#,
        r#"let x @ Some(_) = db.query_optional("A", ()).await? else { return };"#,
        r#"for x in db.query("A", ()).await? {}"#,
        r#"let mut rows = db.stream::<i64>("A", ());"#,
        r#"db.execute_many("A", rows.map(|row| (row.a, row.b))).await?;"#,
        r#"let f = |x: u8| x; let y = a | b; let z = c || d; db.execute("A", ()).await?;"#,
    ] {
        assert_eq!(texts(body), ["A"], "{body}");
    }
}

#[test]
fn what_may_be_something_else_is_not_found() {
    for body in [
        r#"self.db.execute("A", ());"#,
        r#"other::db.execute("A", ());"#,
        r#"tx.execute("A", ());"#,
        r#"db.executes("A", ());"#,
        r#"db.execute(format!("A"), ());"#,
        r#"db.execute(SQL, ());"#,
        r#"db.execute(b"A", ());"#,
        r#"let db = other; db.execute("A", ());"#,
        r#"let (mut db, x) = other; db.execute("A", ());"#,
        r#"if let Some(db) = other { db.execute("A", ()); }"#,
        r#"while let Ok(db) = other { db.execute("A", ()); }"#,
        r#"for db in all { db.execute("A", ()); }"#,
        r#"match x { Some(db) => db.execute("A", ()), _ => {} }"#,
        r#"match x { Some(Point { db, .. }) if y => { db.execute("A", ()) } }"#,
        r#"f(|db| db.execute("A", ()));"#,
        r#"f(move |a: &T, db: &mut X| { db.execute("A", ()) });"#,
        r#"fn f(db: X) { db.execute("A", ()) }"#,
        r#"impl X { fn f(&self) { db.execute("A", ()) } }"#,
        r#"macro_rules! m { () => { db.execute("A", ()) } }"#,
        r#"my_macro!(db.execute("A", ()));"#,
        r#"stringify!(db.execute("A", ()));"#,
        r#"#[cfg(x)] db.execute("A", ());"#,
        r#"#[cfg_attr(x, y)] { db.execute("A", ()) }"#,
        r#"let mut sql = "A"; sql = x; db.execute(sql, ());"#,
        r#"let sql = "A"; let sql = f(sql); db.execute(sql, ());"#,
        r#"let sql = "A"; for sql in all { db.execute(sql, ()); }"#,
        r#"let sql = "A"; f(|sql| db.execute(sql, ()));"#,
        r#"let sql = if x { "A" } else { "B" }; db.execute(sql, ());"#,
        r#"{ let sql = "A"; } db.execute(sql, ());"#,
        r#"#[cfg(x)] let sql = "A"; db.execute(sql, ());"#,
        r#"#[cfg(x)] const SQL: &str = "A"; db.execute(SQL, ());"#,
        r#"let sql = "A"; define!(sql); db.execute(sql, ());"#,
    ] {
        assert!(texts(body).is_empty(), "{body}");
    }
}

#[test]
fn what_stands_before_another_meaning_is_found() {
    assert_eq!(
        texts(r#"db.execute("A", ()); let db = db.query("B", ()).await?; db.execute("C", ());"#),
        ["A", "B"]
    );
    assert_eq!(
        texts(r#"#[cfg(x)] db.execute("A", ()); db.execute("B", ());"#),
        ["B"]
    );
    assert_eq!(
        texts(r#"{ let db = x; db.execute("A", ()); } db.execute("B", ());"#),
        ["B"]
    );
}

#[test]
fn a_half_typed_body_gives_what_is_whole_in_it() {
    for (body, expected) in [
        ("", 0),
        ("db", 0),
        ("db.", 0),
        ("db.query", 0),
        ("db.query::", 0),
        ("db.query::<", 0),
        ("db.query::<A", 0),
        ("db.query()", 0),
        (r#"db.query("A")"#, 1),
        (r#"db.query("A", )"#, 1),
        (r#"db.query("A", (a, ))."#, 1),
        (r#"db.query("A", (a b c)) db.query("B", ())"#, 2),
        ("let", 0),
        ("let x", 0),
        ("let x:", 0),
        ("let x =", 0),
        ("let db", 0),
        (r#"let x: Vec< = db.query("A", ()).await?;"#, 1),
        ("for", 0),
        ("for x in", 0),
        ("|", 0),
        ("|db", 0),
        ("=>", 0),
        ("=> =>", 0),
        ("#", 0),
        ("#[cfg", 0),
        ("const", 0),
        ("const X", 0),
        ("const X: &str =", 0),
        ("fn", 0),
        ("sql!", 0),
        ("concat!()", 0),
        (r#"db.execute("A", ()); if users { } else"#, 1),
    ] {
        // What is not balanced never comes to a macro.
        if body.parse::<TokenStream>().is_ok() {
            assert_eq!(texts(body).len(), expected, "{body}");
        }
    }
}

#[test]
fn parameters_and_columns_go_with_their_statement() {
    for (body, given, columns) in [
        (r#"db.query("A", ())"#, Some(0), None),
        (r#"db.query("A", params)"#, None, None),
        (
            r#"db.query_map("A", (a, b), |row| row.get(0))"#,
            Some(2),
            None,
        ),
        (r#"db.execute_batch("A")"#, None, None),
        (r#"db.execute_many("A", [(a, b), (c, d)])"#, None, None),
        (r#"db.stream::<(A, B)>("A", (a,))"#, Some(1), Some(2)),
        (r#"db.query::<(A, B)>("A", (a,))"#, Some(1), Some(2)),
        (
            r#"let x: Vec<(A, B)> = db.query("A", ()).await?;"#,
            Some(0),
            Some(2),
        ),
        (
            r#"let x: Option<String> = db.query_optional("A", ()).await?;"#,
            Some(0),
            Some(1),
        ),
        (
            r#"let x: (A, B, C) = db.query_one("A", ()).await?;"#,
            Some(0),
            Some(3),
        ),
        (
            r#"let x: usize = db.query::<_>("A", ()).await?.len();"#,
            Some(0),
            None,
        ),
        (
            r#"let x: i64 = db.query_one("A", ()).await.unwrap_or(0);"#,
            Some(0),
            None,
        ),
        (
            r#"let x: User = db.query_one("A", ()).await?;"#,
            Some(0),
            None,
        ),
    ] {
        assert_eq!(found(body), [("A".to_owned(), given, columns)], "{body}");
    }
}
