//! The foreign keys of a database, each checked separately: whether any row can satisfy it, and which rows do not.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::schema::is_virtual;
use crate::error::{Error, Result};

/// The foreign keys before or after a migration.
pub(crate) struct ForeignKeys {
    tables: Vec<Table>,
    /// The index of each table, by its name in lower case.
    places: HashMap<String, usize>,
}

pub(crate) struct Table {
    pub(crate) name: String,
    /// The table's root page. It survives a rename, but after a DROP another table may get it.
    root: i64,
    columns: Vec<String>,
    primary_key: Vec<String>,
    pub(crate) keys: Vec<ForeignKey>,
}

pub(crate) struct ForeignKey {
    pub(crate) parent: String,
    pub(crate) from: Vec<String>,
    /// The parent's columns as the key names them. Empty if it refers to the primary key.
    to: Vec<String>,
    /// Why no row with a value can ever satisfy the key.
    pub(crate) fault: Option<&'static str>,
    pub(crate) orphans: Vec<Orphan>,
}

/// A row without a parent. If no row can have a parent, every row with a value is an orphan.
#[derive(Clone, Copy)]
pub(crate) struct Orphan {
    /// A hash of its primary key and of the values of the foreign key.
    row: u64,
    /// A hash of the values of the foreign key.
    values: u64,
}

/// What a migration has made worse.
pub(crate) struct Violation {
    pub(crate) child: String,
    pub(crate) parent: String,
    /// How many rows lack a parent and either had one before or are new. 0 if the key itself cannot be satisfied.
    pub(crate) count: u64,
}

impl ForeignKeys {
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        Self::read_with(connection, &mut Err)
    }

    /// The same as [`read`](Self::read), but leaves a key that cannot be checked out if `keep` accepts the error.
    pub(crate) fn read_with(
        connection: &Connection,
        keep: &mut dyn FnMut(Error) -> Result<()>,
    ) -> Result<Self> {
        let mut tables = tables(connection)?;
        add_columns(connection, &mut tables)?;
        add_keys(connection, &mut tables)?;
        let names = tables.iter().map(|table| table.name.to_ascii_lowercase());
        let mut all = Self {
            places: names.zip(0..).collect(),
            tables,
        };
        for child in 0..all.tables.len() {
            for key in 0..all.tables[child].keys.len() {
                match all.judge(connection, child, key) {
                    Ok((fault, orphans)) => {
                        let key = &mut all.tables[child].keys[key];
                        (key.fault, key.orphans) = (fault, orphans);
                    }
                    Err(error) => keep(error)?,
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn table(&self, name: &str) -> Option<&Table> {
        let place = *self.places.get(&name.to_ascii_lowercase())?;
        self.tables.get(place)
    }

    fn judge(
        &self,
        connection: &Connection,
        child: usize,
        key: usize,
    ) -> Result<(Option<&'static str>, Vec<Orphan>)> {
        let child = &self.tables[child];
        let key = &child.keys[key];
        let (fault, to) = match self.target(connection, key)? {
            Ok(to) => (None, to),
            Err(fault) => (Some(fault), Vec::new()),
        };
        Ok((fault, orphans(connection, child, key, &to)?))
    }

    /// The columns that a key points to, or why it cannot be satisfied: <https://sqlite.org/foreignkeys.html>, section
    /// 3.
    fn target(
        &self,
        connection: &Connection,
        key: &ForeignKey,
    ) -> Result<Result<Vec<String>, &'static str>> {
        let Some(parent) = self.table(&key.parent) else {
            return Ok(Err("there is no such table"));
        };
        if key.to.is_empty() {
            let fits = parent.primary_key.len() == key.from.len();
            let target = fits.then(|| parent.primary_key.clone());
            return Ok(target.ok_or("its primary key has another number of columns"));
        }
        let exists = |column: &String| contains(&parent.columns, column);
        if !key.to.iter().all(exists) {
            return Ok(Err("it has no such column"));
        }
        let is_unique = same_set(&parent.primary_key, &key.to)
            || unique_indexes(connection, &parent.name)?
                .iter()
                .any(|columns| same_set(columns, &key.to));
        let target = is_unique.then(|| key.to.clone());
        Ok(target.ok_or("its columns are neither PRIMARY KEY nor UNIQUE"))
    }

    /// The first key that is worse than before.
    pub(crate) fn worse_than(&self, before: &Self) -> Option<Violation> {
        for child in &self.tables {
            let former_child = before.former(child, self);
            for (place, key) in child.keys.iter().enumerate() {
                let former = former_child.and_then(|former| {
                    let key = before.former_key(former, key, place, self)?;
                    Some((former, key))
                });
                let breaks =
                    key.fault.is_some() && former.is_none_or(|(_, key)| key.fault.is_none());
                let count = if breaks {
                    0
                } else {
                    key.count_new(child, former)
                };
                if breaks || count > 0 {
                    return Some(Violation {
                        child: child.name.clone(),
                        parent: key.parent.clone(),
                        count,
                    });
                }
            }
        }
        None
    }

    /// The table here that became `table` in `after`: the one of the same name, or the one that was renamed.
    fn former(&self, table: &Table, after: &Self) -> Option<&Table> {
        self.table(&table.name).or_else(|| {
            let renamed = |former: &&Table| former.root == table.root;
            let former = self.tables.iter().find(renamed)?;
            after.table(&former.name).is_none().then_some(former)
        })
    }

    /// The key here that became a key in `after`. If columns were renamed, it is the key in the same position.
    fn former_key<'a>(
        &self,
        former: &'a Table,
        key: &ForeignKey,
        place: usize,
        after: &Self,
    ) -> Option<&'a ForeignKey> {
        let parent = after.table(&key.parent);
        let parent = parent.and_then(|parent| self.former(parent, after));
        let has_same_parent = |was: &&ForeignKey| {
            was.parent.eq_ignore_ascii_case(&key.parent)
                || parent.is_some_and(|parent| parent.name.eq_ignore_ascii_case(&was.parent))
                || after.table(&was.parent).is_none()
        };
        let has_same_columns = |was: &&ForeignKey| same_list(&was.from, &key.from);
        former
            .keys
            .iter()
            .find(|was| has_same_parent(was) && has_same_columns(was))
            .or_else(|| former.keys.get(place).filter(has_same_parent))
            .filter(|was| was.from.len() == key.from.len())
    }
}

impl ForeignKey {
    /// How many orphans `former` does not have. Rows are identified by their primary key. Without one, or if it has
    /// changed, they are identified by the values of the foreign key.
    fn count_new(&self, child: &Table, former: Option<(&Table, &Self)>) -> u64 {
        let Some((former_child, former)) = former else {
            return self.orphans.len() as u64;
        };
        let by_row = former_child.root == child.root
            || same_list(&former_child.primary_key, &child.primary_key);
        let mark = |orphan: &Orphan| if by_row { orphan.row } else { orphan.values };
        let mut known: HashMap<u64, u64> = HashMap::new();
        for orphan in &former.orphans {
            *known.entry(mark(orphan)).or_default() += 1;
        }
        let is_new = |orphan: &&Orphan| match known.get_mut(&mark(orphan)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        };
        self.orphans.iter().filter(is_new).count() as u64
    }
}

/// Quotes any name for use in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn contains(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

fn same_list(these: &[String], those: &[String]) -> bool {
    these.len() == those.len()
        && these
            .iter()
            .zip(those)
            .all(|(this, that)| this.eq_ignore_ascii_case(that))
}

fn same_set(these: &[String], those: &[String]) -> bool {
    these.len() == those.len() && these.iter().all(|name| contains(those, name))
}

/// The tables that can be a parent or a child.
fn tables(connection: &Connection) -> Result<Vec<Table>> {
    let mut statement = connection.prepare(
        "SELECT name, rootpage, coalesce(sql, '') FROM main.sqlite_master
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let mut rows = statement.query(())?;
    let mut tables = Vec::new();
    while let Some(row) = rows.next()? {
        if !is_virtual(&row.get::<_, String>(2)?) {
            tables.push(Table {
                name: row.get(0)?,
                root: row.get(1)?,
                columns: Vec::new(),
                primary_key: Vec::new(),
                keys: Vec::new(),
            });
        }
    }
    Ok(tables)
}

fn add_columns(connection: &Connection, tables: &mut [Table]) -> Result<()> {
    for table in tables {
        let mut statement =
            connection.prepare_cached("SELECT name, pk FROM pragma_table_xinfo(?1, 'main')")?;
        let mut rows = statement.query((&table.name,))?;
        let mut primary_key: Vec<(i64, String)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, place): (String, i64) = (row.get(0)?, row.get(1)?);
            if place > 0 {
                primary_key.push((place, name.clone()));
            }
            table.columns.push(name);
        }
        primary_key.sort();
        table.primary_key = primary_key.into_iter().map(|(_, name)| name).collect();
    }
    Ok(())
}

fn add_keys(connection: &Connection, tables: &mut [Table]) -> Result<()> {
    for table in tables {
        let mut statement = connection.prepare_cached(
            "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq",
        )?;
        let mut rows = statement.query((&table.name,))?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if last.replace(id) != Some(id) {
                table.keys.push(ForeignKey {
                    parent: row.get(1)?,
                    from: Vec::new(),
                    to: Vec::new(),
                    fault: None,
                    orphans: Vec::new(),
                });
            }
            if let Some(key) = table.keys.last_mut() {
                key.from.push(row.get(2)?);
                key.to.extend(row.get::<_, Option<String>>(3)?);
            }
        }
    }
    Ok(())
}

/// The columns of each unique index of a table.
fn unique_indexes(connection: &Connection, table: &str) -> Result<Vec<Vec<String>>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM pragma_index_list(?1, 'main') WHERE \"unique\" AND NOT partial",
    )?;
    let names = statement.query_map((table,), |row| row.get(0))?;
    let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    let mut columns = connection
        .prepare_cached("SELECT coalesce(name, '') FROM pragma_index_info(?1, 'main')")?;
    let mut indexes = Vec::new();
    for name in names {
        let columns = columns.query_map((name,), |row| row.get(0))?;
        indexes.push(columns.collect::<rusqlite::Result<_>>()?);
    }
    Ok(indexes)
}

/// The rows with a value and no parent. All rows with a value if `to` is empty.
fn orphans(
    connection: &Connection,
    child: &Table,
    key: &ForeignKey,
    to: &[String],
) -> Result<Vec<Orphan>> {
    let of_child = |columns: &[String]| -> Vec<String> {
        columns
            .iter()
            .map(|name| format!("c.{}", quoted(name)))
            .collect()
    };
    let from = of_child(&key.from);
    let mut sql = format!(
        "SELECT {} FROM main.{} AS c WHERE {}",
        [from.clone(), of_child(&child.primary_key)]
            .concat()
            .join(", "),
        quoted(&child.name),
        from.iter()
            .map(|column| format!("{column} IS NOT NULL"))
            .collect::<Vec<_>>()
            .join(" AND ")
    );
    if !to.is_empty() {
        // A foreign key compares with the parent's collation and affinity (sqlite.org/foreignkeys.html, section 3). The
        // parent's column is the left operand, so its collation applies. The unary plus removes the affinity of the
        // child's column, so the parent's applies (sqlite.org/datatype3.html).
        let pairs: Vec<String> = to
            .iter()
            .zip(&from)
            .map(|(to, from)| format!("p.{} = +{from}", quoted(to)))
            .collect();
        sql.push_str(&format!(
            " AND NOT EXISTS (SELECT 1 FROM main.{} AS p WHERE {})",
            quoted(&key.parent),
            pairs.join(" AND ")
        ));
    }
    let mut statement = connection.prepare(&sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query(())?;
    let mut orphans = Vec::new();
    while let Some(row) = rows.next()? {
        let mut hasher = DefaultHasher::new();
        hash_values(row, 0..from.len(), &mut hasher)?;
        let values = hasher.finish();
        hash_values(row, from.len()..columns, &mut hasher)?;
        let row = hasher.finish();
        orphans.push(Orphan { row, values });
    }
    Ok(orphans)
}

/// Hashes a number like its text, because a rebuilt table may store it with another type.
fn hash_values(
    row: &Row<'_>,
    columns: std::ops::Range<usize>,
    hasher: &mut DefaultHasher,
) -> Result<()> {
    for column in columns {
        match row.get_ref(column)? {
            ValueRef::Null => 0_u8.hash(hasher),
            ValueRef::Integer(number) => number.to_string().as_bytes().hash(hasher),
            ValueRef::Real(number) => number.to_string().as_bytes().hash(hasher),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.hash(hasher),
        }
    }
    Ok(())
}
