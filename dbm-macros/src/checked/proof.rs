//! Whether the files of a manager are right: each step runs, on tables with rows too, and what they make can be used.

use super::database::Database;
use super::excerpt::{line_and_column, places_of};
use super::fault::Fault;
use crate::schema::Folder;
use rusqlite::Connection;

/// What is wrong, a sentence each; the first one that does not run hides what is behind it.
pub(super) fn faults(folder: &Folder, strict: bool) -> Vec<String> {
    let mut database = match walk(folder, strict) {
        Ok(database) if database.is_sure() => database,
        Ok(_) => return Vec::new(),
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    faults.extend(twin(folder));
    if database.ready().is_ok() {
        for (kind, name, table) in made(database.connection()) {
            let fault = match &*kind {
                "view" => unusable_view(&mut database, &name),
                _ => unusable_trigger(&mut database, &name, &table),
            };
            let fault = fault.filter(|fault| !fault.strict);
            let place = place_of(folder, &kind, &name);
            faults
                .extend(fault.map(|fault| format!("{place}: {kind} `{name}`: {}", fault.message)));
        }
    }
    faults
}

fn walk(folder: &Folder, strict: bool) -> Result<Database, String> {
    let mut database = Database::new().map_err(|error| error.to_string())?;
    if strict {
        database.has_no_stand_ins();
    }
    for file in &folder.files {
        database.run_file(&file.sql).map_err(|fault| {
            let (line, column) = line_and_column(&file.sql, fault.offset.unwrap_or(0));
            format!("{}:{line}:{column}: {}", file.path, fault.message)
        })?;
    }
    Ok(database)
}

/// Walks with a row in each table: what SQLite refuses to add to a table with rows, it takes for an empty one.
///
/// The rows are made up, so that nothing else can be learned from what they lead to.
fn twin(folder: &Folder) -> Option<String> {
    let mut database = Database::new().ok()?;
    for file in &folder.files {
        if let Err(fault) = database.run_file(&file.sql) {
            let (line, column) = line_and_column(&file.sql, fault.offset.unwrap_or(0));
            let place = format!("{}:{line}:{column}", file.path);
            return fault
                .message
                .starts_with("Cannot add a ")
                .then(|| format!("{place}: {}, to a table with rows", fault.message));
        }
        fill(database.connection()).ok()?;
    }
    None
}

/// A row into each table that has none, as far as its constraints let one in.
fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA ignore_check_constraints = ON")?;
    let tables = texts(
        connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    for table in tables {
        let quoted = quoted(&table);
        let columns = "SELECT '\"' || replace(name, '\"', '\"\"') || '\"', CASE
                WHEN upper(type) LIKE '%INT%' OR upper(type) IN ('ANY', '', 'REAL', 'NUMERIC') THEN '1'
                WHEN upper(type) LIKE '%BLOB%' THEN 'x''01'''
                ELSE '''row''' END
            FROM pragma_table_xinfo(?1) WHERE hidden = 0";
        let mut columns = connection.prepare(columns)?;
        let columns = columns.query_map((&table,), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let (names, values): (Vec<_>, Vec<_>) = columns.flatten().unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        let row = format!(
            "INSERT INTO {quoted} ({names}) SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {quoted})"
        );
        // A trigger may not let it in.
        let _ = connection.execute_batch(&row);
    }
    connection.execute_batch("PRAGMA ignore_check_constraints = OFF")
}

/// Kind, name and table of every view and trigger.
fn made(connection: &Connection) -> Vec<(String, String, String)> {
    let sql = "SELECT type, name, tbl_name FROM sqlite_schema WHERE type IN ('view', 'trigger')";
    let read = |connection: &Connection| -> rusqlite::Result<_> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    };
    read(connection).unwrap_or_default()
}

/// A view passes CREATE whatever it names.
fn unusable_view(database: &mut Database, name: &str) -> Option<Fault> {
    let sql = format!("SELECT * FROM {}", quoted(name));
    let fault = database.facts(&sql, false).err()?;
    if database.is_of_unknown_module(&fault, &sql) || database.passes_with_quoted_texts(&sql) {
        return None;
    }
    Some(fault)
}

/// So does a trigger. It is at fault if a change of its table, alone on it, is wrong with it and right without it.
fn unusable_trigger(database: &mut Database, name: &str, table: &str) -> Option<Fault> {
    let columns = texts_with(
        database.connection(),
        "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0",
        table,
    );
    let set: Vec<String> = columns
        .ok()?
        .iter()
        .map(|name| format!("{0} = {0}", quoted(name)))
        .collect();
    let table_name = quoted(table);
    let changes = [
        format!("INSERT INTO {table_name} DEFAULT VALUES"),
        format!("UPDATE {table_name} SET {}", set.join(", ")),
        format!("DELETE FROM {table_name}"),
    ];
    let others = texts_with(
        database.connection(),
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE",
        table,
    );
    let others: Vec<String> = others
        .ok()?
        .into_iter()
        .filter(|other| other != name)
        .collect();
    let judged = database.undone(|database| {
        for other in others {
            drop_trigger(database, &other)?;
        }
        let faults: Vec<_> = changes
            .into_iter()
            .filter_map(|change| Some((database.facts(&change, false).err()?, change)))
            .collect();
        drop_trigger(database, name)?;
        faults.into_iter().find_map(|(fault, change)| {
            let is_its = database.facts(&change, false).is_ok()
                && !database.is_of_unknown_module(&fault, &change);
            is_its.then_some(fault)
        })
    });
    judged
        .ok()?
        .filter(|fault| !fault.message.starts_with("no such column: \""))
}

fn drop_trigger(database: &Database, name: &str) -> Option<()> {
    let sql = format!("DROP TRIGGER {}", quoted(name));
    database.connection().execute_batch(&sql).ok()
}

/// Where the last file that makes it does so.
fn place_of(folder: &Folder, kind: &str, name: &str) -> String {
    let made = folder.files.iter().rev().find_map(|file| {
        let is_made = |place: &usize| {
            let before =
                file.sql[..*place].trim_end_matches(['"', '`', '[', '\'', ' ', '\n', '\t']);
            let before = before.to_ascii_lowercase();
            before.ends_with(kind) || before.ends_with("exists") || before.ends_with('.')
        };
        let place = places_of(&file.sql, name).filter(is_made).last()?;
        Some((file, place))
    });
    match made {
        Some((file, place)) => {
            let (line, column) = line_and_column(&file.sql, place);
            format!("{}:{line}:{column}", file.path)
        }
        None => folder.path.clone(),
    }
}

fn texts(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((), |row| row.get(0))?;
    rows.collect()
}

fn texts_with(
    connection: &Connection,
    sql: &str,
    parameter: &str,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((parameter,), |row| row.get(0))?;
    rows.collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
