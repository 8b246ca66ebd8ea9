//! A result of any size is read in little memory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;

use dbm_core::prelude::*;
use dbm_tests::run;
use serde::Deserialize;

dbm_tests::manager!(Store);

#[derive(Deserialize)]
struct Note {
    id: i64,
    text: String,
}

/// Rows of a few bytes, of a hundred, and of a megabyte.
const SHAPES: [(i64, i64); 3] = [(1_000_000, 10), (200_000, 100), (200, 1_000_000)];

impl Store {
    /// Reads so many rows, and gives the memory that it has seen beyond what was there at the first row.
    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction, rows: i64, bytes: i64) -> Result<u64> {
        let sql = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT ?1)
             SELECT id, hex(zeroblob(?2 / 2)) AS text FROM n";
        let mut notes = db.stream::<Note>(sql, (rows, bytes));
        let (before, mut most, mut count) = (memory(), 0, 0);
        while let Some(note) = notes.next().await? {
            count += 1;
            assert_eq!((note.id, note.text.len() as i64), (count, bytes));
            if count % (rows / 100) == 0 {
                most = most.max(memory().saturating_sub(before));
            }
        }
        assert_eq!(count, rows);
        Ok(most)
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, rows: i64, bytes: i64) -> Result<u64> {
        db.execute_batch("CREATE TEMP TABLE note (id INTEGER, text TEXT)")
            .await?;
        let (before, mut most) = (memory(), 0);
        let notes = (0..rows).map(|id| {
            if id % (rows / 100) == 0 {
                most = most.max(memory().saturating_sub(before));
            }
            (id, "x".repeat(bytes as usize))
        });
        // A row that changes nothing leaves no page in memory.
        let sql = "DELETE FROM note WHERE id = ?1 AND text = ?2";
        assert_eq!(db.execute_many(sql, notes).await?, 0);
        Ok(most)
    }
}

/// Of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[test]
fn a_million_rows_come_and_go_in_little_memory() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        for (rows, bytes) in SHAPES {
            let read = store.read(rows, bytes).await.unwrap();
            assert!(read < 20 << 20, "{read} bytes for {rows} rows of {bytes}");
            let written = store.write(rows, bytes).await.unwrap();
            assert!(
                written < 20 << 20,
                "{written} bytes to write {rows} rows of {bytes}"
            );
        }
        store.close().await.unwrap();
    });
}
