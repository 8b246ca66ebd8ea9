use super::*;

fn database(sql: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn faults(sql: &str) -> Vec<Option<&'static str>> {
    let all = ForeignKeys::read(&database(sql)).unwrap();
    let keys = all.tables.iter().flat_map(|table| &table.keys);
    keys.map(|key| key.fault).collect()
}

/// Whether SQLite accepts the key. SQLite checks that only when a row is inserted.
fn sqlite_accepts(sql: &str) -> bool {
    let connection = database(sql);
    connection
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    connection.prepare("INSERT INTO c VALUES (1, 2)").is_ok()
        && connection.prepare("PRAGMA foreign_key_check(c)").is_ok()
        && connection
            .execute_batch("BEGIN; PRAGMA defer_foreign_keys = ON; INSERT INTO c VALUES (1, 2)")
            .is_ok()
}

#[test]
fn a_key_is_of_use_where_sqlite_says_so() {
    for (parent, key) in [
        ("TABLE p (id INTEGER PRIMARY KEY)", "p"),
        ("TABLE p (id INTEGER PRIMARY KEY)", "P (ID)"),
        ("TABLE p (id INTEGER PRIMARY KEY, x)", "p (x)"),
        ("TABLE p (id INTEGER PRIMARY KEY, x UNIQUE)", "p (x)"),
        ("TABLE p (id INTEGER PRIMARY KEY)", "p (y)"),
        ("TABLE p (id INTEGER PRIMARY KEY)", "q"),
        ("TABLE p (id)", "p"),
        ("TABLE p (a, b, PRIMARY KEY (a, b))", "p"),
        ("TABLE p (a, b, PRIMARY KEY (a, b))", "p (a)"),
        ("TABLE p (a TEXT PRIMARY KEY) WITHOUT ROWID", "p"),
        ("VIEW p AS SELECT 1 AS id", "p (id)"),
        ("VIRTUAL TABLE p USING fts5(id)", "p (id)"),
        ("TABLE p (x); CREATE UNIQUE INDEX u ON p (x)", "p (x)"),
        (
            "TABLE p (x); CREATE UNIQUE INDEX u ON p (x) WHERE x > 1",
            "p (x)",
        ),
        ("TABLE p (x); CREATE UNIQUE INDEX u ON p (x + 1)", "p (x)"),
        ("TABLE p (x, y UNIQUE AS (x + 1))", "p (y)"),
    ] {
        let sql = format!("CREATE TABLE c (r REFERENCES {key}, s); CREATE {parent};");
        assert_eq!(faults(&sql)[0].is_none(), sqlite_accepts(&sql), "{sql}");
    }
    let composite = "CREATE TABLE c (r, s, FOREIGN KEY (r, s) REFERENCES p (b, a)); CREATE TABLE p (a, b, UNIQUE (a, b));";
    assert_eq!(faults(composite), [None]);
    assert!(sqlite_accepts(composite));
}

#[test]
fn a_row_is_an_orphan_where_sqlite_says_so() {
    for (parent, child, values) in [
        (
            "INTEGER PRIMARY KEY",
            "TEXT",
            "('1'), ('01'), ('x'), (NULL), (x'31')",
        ),
        ("TEXT PRIMARY KEY", "INTEGER", "(1), (2), ('x'), (NULL)"),
        (
            "TEXT PRIMARY KEY COLLATE NOCASE",
            "TEXT",
            "('A'), ('b'), ('1')",
        ),
        ("PRIMARY KEY", "TEXT", "('1'), (1), (x'31')"),
        ("REAL PRIMARY KEY", "TEXT", "('1'), ('1.0'), ('1.5')"),
    ] {
        let connection = database(&format!(
            "CREATE TABLE p (id {parent}); INSERT OR IGNORE INTO p VALUES (1);
            CREATE TABLE c (r {child} REFERENCES p); INSERT INTO c VALUES {values};"
        ));
        let _ = connection.execute("INSERT INTO p VALUES ('a')", ());
        let expected: usize = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| {
                row.get(0)
            })
            .unwrap();
        let all = ForeignKeys::read(&connection).unwrap();
        let found = all.table("c").unwrap().keys[0].orphans.len();
        assert_eq!(found, expected, "{parent} {child} {values}");
    }
}
