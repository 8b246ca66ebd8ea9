//! Copies the rows of a file of SQLite to the same tables on PostgreSQL, checked, in one transaction.
//!
//! ```sh
//! cargo run --release -p dbm-postgres --example move_data -- data/database.db "host=db1 user=shop dbname=shop" [schema]
//! ```
//!
//! The tables are there already: the program has been started once with the server.

use std::collections::BTreeSet;
use std::path::Path;

use dbm_core::prelude::*;
use dbm_core::rusqlite::types::ValueRef;
use dbm_core::rusqlite::{self, OpenFlags};
use dbm_core::{BoundParams, Params, Value};
use dbm_postgres::Postgres;

/// Any program's database, in the version that the file has.
#[derive(DbManager)]
#[db_manager(version = "0.0.0")]
struct Target {
    core: ManagerCore,
}

impl Schema for Target {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Err(Error::other(
            "there is no such database yet; start the program with it first",
        ))
    }
}

/// A table of the file, and what of it the server has, too.
struct Table {
    name: String,
    columns: Vec<String>,
    parents: BTreeSet<String>,
}

impl Target {
    #[database_safe]
    async fn copy(&self, db: &mut WriteTransaction, file: &Path) -> Result<Vec<String>> {
        let mut report = Vec::new();
        for table in parents_first(tables(&open(file)?)?)? {
            report.push(copy_table(db, file, table).await?);
        }
        Ok(report)
    }
}

fn open(file: &Path) -> Result<rusqlite::Connection> {
    Ok(rusqlite::Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?)
}

fn version(file: &Path) -> Result<Version> {
    let sql = "SELECT major, minor, patch FROM Version";
    let row = |row: &rusqlite::Row<'_>| Ok(Version::new(row.get(0)?, row.get(1)?, row.get(2)?));
    Ok(open(file)?.query_row(sql, (), row)?)
}

fn tables(file: &rusqlite::Connection) -> Result<Vec<Table>> {
    let texts = |sql: &str| -> Result<Vec<String>> {
        let mut statement = file.prepare(sql)?;
        let rows = statement.query_map((), |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let names = texts(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND name NOT LIKE '\\_dbm\\_%' ESCAPE '\\' AND lower(name) <> 'version' ORDER BY name",
    )?;
    let tables = names.into_iter().map(|name| {
        let literal = name.replace('\'', "''");
        Ok(Table {
            columns: texts(&format!("SELECT name FROM pragma_table_info('{literal}')"))?,
            parents: texts(&format!(
                "SELECT \"table\" FROM pragma_foreign_key_list('{literal}')"
            ))?
            .into_iter()
            .collect(),
            name,
        })
    });
    tables.collect()
}

/// A row comes after the rows that it points to. Within a table they keep their order.
fn parents_first(mut tables: Vec<Table>) -> Result<Vec<Table>> {
    let mut sorted: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let is_free = |table: &Table| {
            !tables
                .iter()
                .any(|other| other.name != table.name && table.parents.contains(&other.name))
        };
        let Some(place) = tables.iter().position(is_free) else {
            return Err(Error::other(
                "foreign keys lead in a circle; copy these tables by hand",
            ));
        };
        sorted.push(tables.remove(place));
    }
    Ok(sorted)
}

/// A name that was written without quotes is in lower case on the server.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.to_lowercase().replace('"', "\"\""))
}

async fn copy_table(db: &mut WriteTransaction, file: &Path, table: Table) -> Result<String> {
    let name = quoted(&table.name);
    let known: Vec<(String, bool, bool)> = db
        .query(
            "SELECT column_name::text, is_identity = 'YES', data_type IN ('smallint', 'integer', 'bigint') \
             FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ?1 \
             AND is_generated = 'NEVER'",
            (table.name.to_lowercase(),),
        )
        .await?;
    if known.is_empty() {
        return Ok(format!("{}: not on the server, left out", table.name));
    }
    if !db
        .query::<i64>(&format!("SELECT 1::bigint FROM {name} LIMIT 1"), ())
        .await?
        .is_empty()
    {
        return Err(Error::other(format!(
            "{}: has rows on the server",
            table.name
        )));
    }
    let columns: Vec<_> = table
        .columns
        .iter()
        .filter(|column| {
            known
                .iter()
                .any(|(known, ..)| *known == column.to_lowercase())
        })
        .collect();
    let list: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
    let list = list.join(", ");
    let marks: Vec<_> = (1..=columns.len())
        .map(|number| format!("?{number}"))
        .collect();
    let insert = format!(
        "INSERT INTO {name} ({list}) OVERRIDING SYSTEM VALUE VALUES ({})",
        marks.join(", ")
    );
    let select = format!("SELECT {list} FROM {name}");
    let rows = read(file, &select, columns.len())?;
    let copied = db.execute_many(&insert, rows).await?;
    let mut sums = vec!["count(*)".to_owned()];
    let numbers = known.iter().filter(|(column, _, is_number)| {
        *is_number
            && columns
                .iter()
                .any(|wanted| wanted.to_lowercase() == *column)
    });
    sums.extend(numbers.map(|(column, ..)| format!("sum({})", quoted(column))));
    for sum in sums {
        let here: Value = {
            let sql = format!("SELECT {sum} FROM {name}");
            open(file)?.query_row(&sql, (), |row| Ok(value(row.get_ref(0)?)))??
        };
        let there: Value = db
            .query_one(&format!("SELECT {sum} FROM {name}"), ())
            .await?;
        if here != there {
            return Err(Error::other(format!("{}: {sum} differs", table.name)));
        }
    }
    for (column, ..) in known.iter().filter(|(_, is_identity, _)| *is_identity) {
        let sql = "SELECT setval(pg_get_serial_sequence(quote_ident(?1::text), ?2::text), ";
        let sql = format!(
            "{sql}coalesce((SELECT max({column}) FROM {name}), 0) + 1, false)",
            column = quoted(column)
        );
        db.query_one::<i64>(&sql, (table.name.to_lowercase(), column))
            .await?;
    }
    Ok(format!("{}: {copied} rows", table.name))
}

/// All rows of a table, in memory.
fn read(file: &Path, sql: &str, columns: usize) -> Result<Vec<BoundParams>> {
    let file = open(file)?;
    let mut statement = file.prepare(sql)?;
    let mut rows = statement.query(())?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| value(row.get_ref(column)?));
        read.push(values.collect::<Result<Vec<_>>>()?.into_params()?);
    }
    Ok(read)
}

fn value(value: ValueRef<'_>) -> Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::from(std::str::from_utf8(text).map_err(Error::other)?),
        ValueRef::Blob(bytes) => Value::from(bytes),
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (file, server, schema) = match arguments.as_slice() {
        [file, server] => (file, server, "public"),
        [file, server, schema] => (file, server, schema.as_str()),
        _ => return Err(Error::other("usage: move_data FILE SERVER [SCHEMA]")),
    };
    run(Path::new(file), Postgres::new(server)?.schema(schema)).await
}

async fn run(file: &Path, server: Postgres) -> Result<()> {
    let config = Config::from(server).version(version(file)?);
    let target = Target::create(config).await?;
    let copied = target.copy(file).await;
    target.close().await?;
    for line in copied? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(DbManager)]
    #[db_manager(version = "1.1.0", schema = "library")]
    struct Library {
        core: ManagerCore,
    }

    impl Library {
        #[database_safe]
        async fn add(&self, db: &mut WriteTransaction, title: &str) -> Result<i64> {
            db.query_one(
                "INSERT INTO book (title) VALUES (?1) RETURNING id",
                (title,),
            )
            .await
        }
    }

    #[tokio::test]
    async fn all_rows_come_over_or_none_and_new_ones_get_the_next_number() {
        let Some(server) = support::shared() else {
            return;
        };
        let database = server.database();
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("database.db");
        let here = Library::create(Config::new(folder.path())).await.unwrap();
        for title in ["Emma", "Ünï", "Persuasion"] {
            here.add(title).await.unwrap();
        }
        here.close().await.unwrap();
        let postgres = || Postgres::new(&database.description()).unwrap();
        let early = run(&file, postgres()).await.unwrap_err();
        assert!(early.to_string().contains("start the program"), "{early}");
        let there = Library::create(Config::from(postgres())).await.unwrap();
        run(&file, postgres()).await.unwrap();
        assert_eq!(
            database.ask("SELECT id, title FROM book ORDER BY id"),
            "1|Emma\n2|Ünï\n3|Persuasion"
        );
        assert_eq!(there.add("Next").await.unwrap(), 4);
        let again = run(&file, postgres()).await.unwrap_err();
        assert!(again.to_string().contains("has rows"), "{again}");
        there.close().await.unwrap();
    }
}
