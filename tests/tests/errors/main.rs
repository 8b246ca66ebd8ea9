//! What an error says: no value that was bound and no literal of the SQL, wherever it is shown, and yet what is wrong and
//! where; and which errors a program can tell apart.

#![allow(clippy::unwrap_used, clippy::panic)]

mod apart;
mod readable;
mod secrets;

use std::error::Error as _;
use std::sync::Arc;

use dbm_core::Execution;
use dbm_core::prelude::*;

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE user (
                 id INTEGER PRIMARY KEY,
                 name TEXT NOT NULL UNIQUE,
                 level TEXT NOT NULL DEFAULT 'low' CHECK (level IN ('low', 'high')),
                 age INTEGER CHECK (age >= 0),
                 born INTEGER CONSTRAINT born_in_time CHECK (born > 1800)
             ) STRICT;
             CREATE TABLE pet (owner INTEGER NOT NULL REFERENCES user) STRICT;
             CREATE VIRTUAL TABLE note USING fts5(body);
             CREATE VIRTUAL TABLE older USING fts4(body);
             CREATE TABLE guarded (text TEXT) STRICT;
             CREATE TRIGGER guard BEFORE INSERT ON guarded BEGIN
                 SELECT RAISE(ABORT, 'UNIQUE constraint failed: ' || new.text);
             END",
        )
        .await
    }
}

impl Store {
    async fn new(execution: Execution) -> Arc<Self> {
        Self::create(Config::in_memory().execution(execution))
            .await
            .unwrap()
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, sql: &str, params: &[Value]) -> Result<usize> {
        db.execute(sql, params).await
    }

    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction, sql: &str, params: &[Value]) -> Result<()> {
        db.query_map(sql, params, |_| Ok(())).await.map(drop)
    }
}

/// Everything that an error shows without being asked for SQLite's own words.
fn shown(error: &Error) -> String {
    let mut texts = vec![
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
    ];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.extend([error.to_string(), format!("{error:?}")]);
        cause = error.source();
    }
    texts.join("\n")
}
