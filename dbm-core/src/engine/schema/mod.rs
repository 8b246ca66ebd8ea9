//! The schema of a database in a form that can be compared: what SQLite's PRAGMAs report of each table, and the normal
//! form of the SQL for everything else.

mod clauses;
mod diff;
mod sql;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use rusqlite::Connection;

use clauses::Clauses;
pub use diff::SchemaDiff;
use sql::{default_value, first_list, line, normal, quote, tokens};

use crate::error::Result;

/// The tables, indexes, triggers and views of a database, as text. Equal schemas have equal text.
///
/// Differences in white space, comments, quotes and the case of words in expressions do not count. Neither does it
/// matter whether a constraint is written beside its column or after all columns. The table `Version` and SQLite's own
/// tables are left out.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaDump {
    /// Each table with its indexes and triggers, and each view with its triggers, by name.
    objects: Vec<Object>,
}

/// A named object of a schema.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    /// The table or view that it belongs to, or its own name if it is one. In lower case.
    owner: String,
    kind: ObjectKind,
    name: String,
    /// The columns of a table, in order.
    columns: Vec<Column>,
    /// Everything else, in an order of its own.
    lines: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    name: String,
    line: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ObjectKind {
    Table,
    View,
    Index,
    Trigger,
}

/// Reads the schema of the main database. Call it inside a transaction: another process could change the schema between
/// two statements.
pub(crate) fn read(connection: &Connection) -> Result<SchemaDump> {
    let mut statement = connection.prepare(
        "SELECT s.type, s.name, s.tbl_name, coalesce(s.sql, ''), l.type IS 'virtual', coalesce(l.strict, 0), coalesce(l.wr, 0)
         FROM sqlite_schema s LEFT JOIN pragma_table_list(s.name) l ON l.schema = 'main'
         WHERE s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND s.tbl_name <> 'Version' COLLATE NOCASE
             AND s.tbl_name NOT LIKE '\\_dbm\\_%' ESCAPE '\\' AND l.type IS NOT 'shadow'",
    )?;
    let mut rows = statement.query(())?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, sql): (String, String) = (row.get(0)?, row.get(3)?);
        let is_virtual: bool = row.get(4)?;
        let mut object = Object {
            owner: row.get::<_, String>(2)?.to_ascii_lowercase(),
            kind: match kind.as_str() {
                "table" => ObjectKind::Table,
                "view" => ObjectKind::View,
                "index" => ObjectKind::Index,
                _ => ObjectKind::Trigger,
            },
            name: row.get(1)?,
            columns: Vec::new(),
            lines: Vec::new(),
        };
        match object.kind {
            ObjectKind::Table if !is_virtual => {
                read_table(connection, &mut object, &sql)?;
                if row.get(5)? {
                    object.lines.push("STRICT".to_owned());
                }
                if row.get(6)? {
                    object.lines.push("WITHOUT ROWID".to_owned());
                }
            }
            ObjectKind::Index => object.lines = vec![index(connection, &object, &sql)?],
            _ => object.lines = vec![after_name(&sql)],
        }
        objects.push(object);
    }
    objects.sort();
    Ok(SchemaDump { objects })
}

/// Whether a CREATE TABLE statement makes a virtual table.
pub(crate) fn is_virtual(sql: &str) -> bool {
    names_a_module(&tokens(sql))
}

fn names_a_module(tokens: &[sql::Token]) -> bool {
    tokens.get(1).is_some_and(|token| token.is("virtual"))
}

/// The part of a CREATE statement after the name that it creates.
fn after_name(sql: &str) -> String {
    let tokens = tokens(sql);
    let words = if names_a_module(&tokens) { 4 } else { 3 };
    line(tokens.get(words..).unwrap_or_default())
}

fn read_table(connection: &Connection, table: &mut Object, sql: &str) -> Result<()> {
    let clauses = Clauses::of(sql);
    read_columns(connection, table, &clauses)?;
    read_unique(connection, table)?;
    read_foreign_keys(connection, table, &clauses)?;
    table.lines.extend(clauses.lines);
    table.lines.sort();
    Ok(())
}

fn read_columns(connection: &Connection, table: &mut Object, clauses: &Clauses) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)",
    )?;
    let mut rows = statement.query((&table.name,))?;
    let mut key = Vec::new();
    while let Some(row) = rows.next()? {
        let plain: String = row.get(0)?;
        let name = quote(&plain);
        let mut line = name.clone();
        let declared: String = row.get(1)?;
        if !declared.is_empty() {
            line.push(' ');
            line.push_str(&normal(&declared).to_uppercase());
        }
        if row.get(2)? {
            line.push_str(" NOT NULL");
        }
        if let Some(default) = row.get::<_, Option<String>>(3)? {
            line.push_str(" DEFAULT ");
            line.push_str(&default_value(&default));
        }
        line.push_str(clauses.of_column(&plain));
        if row.get::<_, i64>(5)? == STORED {
            line.push_str(" STORED");
        }
        let place: i64 = row.get(4)?;
        if place > 0 {
            key.push((place, name.clone()));
        }
        table.columns.push(Column { name, line });
    }
    if !key.is_empty() {
        key.sort();
        let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
        table
            .lines
            .push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    Ok(())
}

/// The mark of a stored generated column in `table_xinfo` (sqlite.org/pragma.html#pragma_table_xinfo).
const STORED: i64 = 3;

fn read_unique(connection: &Connection, table: &mut Object) -> Result<()> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM pragma_index_list(?1) WHERE origin = 'u'")?;
    let mut rows = statement.query((&table.name,))?;
    while let Some(row) = rows.next()? {
        let columns = key_columns(connection, &row.get::<_, String>(0)?, &[])?;
        table.lines.push(format!("UNIQUE ({columns})"));
    }
    Ok(())
}

/// The columns of an index. Expressions come from the statement, because the PRAGMA leaves them out.
fn key_columns(connection: &Connection, index: &str, pieces: &[&[sql::Token]]) -> Result<String> {
    let mut statement = connection.prepare_cached(
        "SELECT seqno, name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno",
    )?;
    let mut rows = statement.query((index,))?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let mut column = match row.get::<_, Option<String>>(1)? {
            Some(name) => {
                let mut column = quote(&name);
                column.push_str(&collate(&row.get::<_, String>(3)?));
                if row.get(2)? {
                    column.push_str(" DESC");
                }
                column
            }
            None => {
                let piece = pieces.get(row.get::<_, usize>(0)?);
                piece.map_or_else(String::new, |piece| line(piece))
            }
        };
        if column.is_empty() {
            column.push('?');
        }
        columns.push(column);
    }
    Ok(columns.join(", "))
}

/// The clause for a collation. Its name has no case. Empty for the default collation.
fn collate(collation: &str) -> String {
    let collation = collation.to_ascii_uppercase();
    if collation == "BINARY" {
        String::new()
    } else {
        format!(" COLLATE {}", quote(&collation))
    }
}

fn index(connection: &Connection, index: &Object, sql: &str) -> Result<String> {
    let tokens = tokens(sql);
    let (pieces, condition) = first_list(&tokens);
    let unique = if tokens.get(1).is_some_and(|token| token.is("unique")) {
        "UNIQUE "
    } else {
        ""
    };
    let columns = key_columns(connection, &index.name, &pieces)?;
    let mut text = format!("{unique}ON {} ({columns})", quote(&index.owner));
    if !condition.is_empty() {
        text.push(' ');
        text.push_str(&line(condition));
    }
    Ok(text)
}

fn read_foreign_keys(connection: &Connection, table: &mut Object, clauses: &Clauses) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete
         FROM pragma_foreign_key_list(?1) ORDER BY id, seq",
    )?;
    let mut rows = statement.query((&table.name,))?;
    let mut keys: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = match keys.entry(row.get(0)?) {
            Entry::Occupied(key) => key.into_mut(),
            Entry::Vacant(place) => place.insert(ForeignKey {
                parent: reference(&row.get::<_, String>(1)?),
                on_update: row.get(4)?,
                on_delete: row.get(5)?,
                ..ForeignKey::default()
            }),
        };
        key.from.push(quote(&row.get::<_, String>(2)?));
        let to: Option<String> = row.get(3)?;
        key.to.extend(to.as_deref().map(reference));
    }
    table
        .lines
        .extend(keys.into_values().map(|key| key.line(clauses)));
    Ok(())
}

/// A name that refers to an object with a spelling of its own. The spelling used here makes no difference.
fn reference(name: &str) -> String {
    quote(&name.to_ascii_lowercase())
}

#[derive(Default)]
struct ForeignKey {
    parent: String,
    from: Vec<String>,
    /// Empty if the key refers to the parent's primary key.
    to: Vec<String>,
    on_update: String,
    on_delete: String,
}

impl ForeignKey {
    fn line(&self, clauses: &Clauses) -> String {
        let from = self.from.join(", ");
        let mut line = format!("FOREIGN KEY ({from}) REFERENCES {}", self.parent);
        if !self.to.is_empty() {
            line.push_str(&format!(" ({})", self.to.join(", ")));
        }
        for (event, action) in [("UPDATE", &self.on_update), ("DELETE", &self.on_delete)] {
            if action != "NO ACTION" {
                line.push_str(&format!(" ON {event} {action}"));
            }
        }
        if clauses.is_deferred(&from) {
            line.push_str(" DEFERRABLE INITIALLY DEFERRED");
        }
        line
    }
}

impl Object {
    fn header(&self) -> String {
        let kind = match self.kind {
            ObjectKind::Table => "TABLE",
            ObjectKind::View => "VIEW",
            ObjectKind::Index => "INDEX",
            ObjectKind::Trigger => "TRIGGER",
        };
        format!("{kind} {}", quote(&self.name))
    }

    fn body(&self) -> impl Iterator<Item = &String> {
        let columns = self.columns.iter().map(|column| &column.line);
        columns.chain(&self.lines)
    }
}

/// SQL-like text, with one column, constraint or statement per line.
impl fmt::Display for SchemaDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for object in &self.objects {
            writeln!(f, "{}", object.header())?;
            for line in object.body() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// The same text as [`Display`](fmt::Display), so that a failed `assert_eq!` is readable.
impl fmt::Debug for SchemaDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SchemaDump {
    /// Compares the two schemas.
    ///
    /// # Errors
    ///
    /// The differences: `-` marks what only this schema has, `+` what only `expected` has.
    pub fn compare(&self, expected: &Self) -> Result<(), SchemaDiff> {
        SchemaDiff::between(self, expected).map_or(Ok(()), Err)
    }
}
