//! TEMP objects. They belong to a connection; the library drops them at the end of the call that makes them.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::db::Db;
use crate::error::Result;

/// What a connection has in its database `temp`: type and name of each object.
pub(crate) type TempObjects = BTreeSet<(String, String)>;

/// Whether a TEMP table or view hides a real one: what is written to that name is lost with the connection.
pub(crate) fn hides_a_table(connection: &Connection) -> Result<bool> {
    let sql = r"SELECT EXISTS (SELECT 1 FROM sqlite_temp_master AS temporary JOIN main.sqlite_master AS real
        ON real.name = temporary.name COLLATE NOCASE
        WHERE temporary.type IN ('table', 'view') AND real.type IN ('table', 'view')
        AND real.name NOT LIKE 'sqlite\_%' ESCAPE '\')";
    Ok(connection.query_row(sql, (), |row| row.get(0))?)
}

pub(crate) fn temp_objects(db: &Db) -> Result<TempObjects> {
    if !db.guard.has_temp() {
        return Ok(TempObjects::new());
    }
    let sql =
        "SELECT type, name FROM sqlite_temp_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = db.connection.prepare(sql)?;
    let objects = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(objects.collect::<rusqlite::Result<_>>()?)
}

/// Drops the TEMP objects that are not in `before`.
pub(crate) fn drop_temp_objects(db: &Db, before: &TempObjects) -> Result<()> {
    for (kind, name) in temp_objects(db)?.difference(before) {
        let name = name.replace('"', "\"\"");
        // An object that belongs to another one, such as an index, is dropped with it.
        db.connection
            .execute_batch(&format!("DROP {kind} IF EXISTS temp.\"{name}\""))?;
    }
    Ok(())
}
