//! rusqlite on one thread, nothing around it: what every other peer is compared with.
//!
//! It also makes the database the others get a copy of (`seed`) and counts what they left in it (`contents`).

use std::future::{Future, ready};

use harness::{
    Contents, INSERT, Item, Job, Peer, READ_COUNTER, Result, SELECT, SELECT_ALL, WRITE_COUNTER,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};

struct Raw(Connection);

impl Raw {
    fn open_now(job: &Job) -> Result<Self> {
        let connection = Connection::open(&job.path)?;
        connection.execute_batch(&job.pragmas())?;
        Ok(Self(connection))
    }

    fn read_now(&self, id: i64) -> Result<Item> {
        let mut statement = self.0.prepare_cached(SELECT)?;
        Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    fn rows_now(&self) -> Result<usize> {
        let mut statement = self.0.prepare_cached(SELECT_ALL)?;
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<Item> = rows.collect::<Result<_, _>>()?;
        Ok(rows.len())
    }

    fn body_now(&self, statements: i64) -> Result<()> {
        let transaction = self.0.unchecked_transaction()?;
        for id in 1..=statements {
            self.read_now(id)?;
        }
        Ok(transaction.commit()?)
    }

    fn insert_now(&self, name: &str, score: i64) -> Result<()> {
        self.0.prepare_cached(INSERT)?.execute((name, score))?;
        Ok(())
    }

    fn increment_now(&self) -> Result<()> {
        let transaction = Transaction::new_unchecked(&self.0, TransactionBehavior::Immediate)?;
        let n: i64 = transaction
            .prepare_cached(READ_COUNTER)?
            .query_row([], |row| row.get(0))?;
        transaction
            .prepare_cached(WRITE_COUNTER)?
            .execute([n + 1])?;
        Ok(transaction.commit()?)
    }
}

impl Peer for Raw {
    fn open(job: &Job) -> impl Future<Output = Result<Self>> + Send {
        ready(Self::open_now(job))
    }

    fn read(&self, id: i64) -> impl Future<Output = Result<Item>> + Send {
        ready(self.read_now(id))
    }

    fn insert(&self, name: &'static str, score: i64) -> impl Future<Output = Result<()>> + Send {
        ready(self.insert_now(name, score))
    }

    fn increment(&self) -> impl Future<Output = Result<()>> + Send {
        ready(self.increment_now())
    }

    fn nothing(&self) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    fn rows(&self) -> impl Future<Output = Result<usize>> + Send {
        ready(self.rows_now())
    }

    fn body(&self, statements: i64) -> impl Future<Output = Result<()>> + Send {
        ready(self.body_now(statements))
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send {
        ready(self.0.close().map_err(|(_, error)| error.into()))
    }
}

/// Also what dbm looks for: a database of schema version 1.0.0.
const SCHEMA: &str = "
    CREATE TABLE Version (
        major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL, PRIMARY KEY (major, minor, patch)
    ) STRICT;
    INSERT INTO Version VALUES (1, 0, 0);
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score INTEGER NOT NULL);
    CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO counter VALUES (1, 0);";

fn seed(path: &str, rows: u64) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "WITH RECURSIVE key(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM key WHERE id < ?1)
         INSERT INTO item SELECT id, format('the name of row %08d', id), id FROM key",
        [rows as i64],
    )?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error.into())
}

fn contents(path: &str) -> Result<Contents> {
    let connection = Connection::open(path)?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let rows = count("SELECT count(*) FROM item")?;
    Ok(Contents {
        rows: rows as u64,
        counter: count(READ_COUNTER)? as u64,
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed", path, rows] => seed(path, rows.parse()?),
        ["version"] => {
            println!("{}", rusqlite::version());
            Ok(())
        }
        ["contents", path] => {
            println!("{}", serde_json::to_string(&contents(path)?)?);
            Ok(())
        }
        _ => harness::worker_on_this_thread::<Raw>(),
    }
}
