//! Rows one after the other: they are those of a query, whatever the body does meanwhile, and whoever stops first.

#![allow(clippy::unwrap_used, clippy::panic)]

mod ends;
mod nested;
mod rows;
mod writes;

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::{Execution, RowStream};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Numbers from 1 up to `?1`.
const COUNT: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?1) SELECT x FROM n";

/// Numbers without end.
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";

/// A statement that works without end for its first row.
const NO_ROW: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0";

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL, size REAL) STRICT;
             CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (parent INTEGER REFERENCES parent) STRICT",
        )
        .await
    }
}

impl Store {
    async fn new(config: Config) -> Arc<Self> {
        Self::create(config).await.unwrap()
    }

    #[database_safe]
    async fn read<R>(
        &self,
        db: &mut ReadTransaction,
        body: impl AsyncFnOnce(&mut ReadTransaction) -> Result<R>,
    ) -> Result<R> {
        body(db).await
    }

    #[database_safe]
    async fn write<R>(
        &self,
        db: &mut WriteTransaction,
        body: impl AsyncFnOnce(&mut WriteTransaction) -> Result<R>,
    ) -> Result<R> {
        body(db).await
    }

    #[database_safe]
    async fn on_connection<R>(
        &self,
        db: &mut Connection,
        body: impl AsyncFnOnce(&mut Connection) -> Result<R>,
    ) -> Result<R> {
        body(db).await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, text: &str) -> Result<i64> {
        db.query_one("INSERT INTO note (text) VALUES (?1) RETURNING id", (text,))
            .await
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM note", ()).await
    }
}

/// Reads to the end.
async fn all<T>(mut rows: RowStream<'_, T>) -> Result<Vec<T>>
where
    T: for<'de> serde::Deserialize<'de> + Send + 'static,
{
    let mut all = Vec::new();
    while let Some(row) = rows.next().await? {
        all.push(row);
    }
    Ok(all)
}
