//! Cancellation: any public future may be dropped at any await point. Afterwards its write is whole or absent, no
//! transaction is open, the next call succeeds, and nothing is left over.

#![allow(clippy::unwrap_used, clippy::panic)]

mod inside;
mod interrupts;
mod leftovers;
mod lifecycle;
mod sweep;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use dbm_core::Execution;
use dbm_core::prelude::*;
use tokio::sync::Notify;

/// A statement that ends only by being interrupted.
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

const ENDLESS_WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1000000 UNION ALL SELECT x + 1 FROM n)
     INSERT INTO half SELECT x, 1 FROM n";

const NUMBERS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
     SELECT x FROM n";

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Items of two halves: an item with one half is half a write.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE half (item INTEGER, side INTEGER, PRIMARY KEY (item, side)) STRICT",
        )
        .await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch("ALTER TABLE half ADD COLUMN weight INTEGER")
            .await?;
        Ok(true)
    }
}

const ADD: &str = "INSERT INTO half (item, side) VALUES (?1, ?2)";

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    /// Statements that have never run before go to a thread.
    #[database_safe]
    async fn add_by_new_text(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        for side in [1, 2] {
            let sql = format!("INSERT INTO half (item, side) VALUES ({item}, {side})");
            db.execute(&sql, ()).await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn add_by_call(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.call(move |c| Ok(c.execute(ADD, (item, 1))?)).await?;
        db.call(move |c| Ok(c.execute(ADD, (item, 2))?)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_nested(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert_eq!(self.halves(item).await?, 1);
        self.add_second_half(item).await?;
        assert_eq!(self.halves(item).await?, 2);
        Ok(())
    }

    #[database_safe]
    async fn add_nested_joined(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let (one, two) = tokio::join!(db.execute(ADD, (item, 1)), self.add_second_half(item));
        two.and(one.map(drop))
    }

    #[database_safe]
    async fn add_second_half(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(&format!("{ADD} -- {item}"), (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_by_connection(&self, db: &mut Connection, item: i64) -> Result<()> {
        db.execute_batch("PRAGMA cache_size = 100").await?;
        db.execute_batch(&format!(
            "BEGIN; INSERT INTO half VALUES ({item}, 1); INSERT INTO half VALUES ({item}, 2); COMMIT"
        ))
        .await
    }

    #[database_safe]
    async fn add_waiting(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        tokio::task::yield_now().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_many(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO half (item, side) VALUES (?1, ?2)";
        let rows = (0..700).map(|n| (item, n % 2 + 1));
        assert_eq!(db.execute_many(sql, rows).await?, 2);
        Ok(())
    }

    #[database_safe]
    async fn add_by_stream(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let sql = format!("{ADD}, (?1, ?2 + 1) RETURNING side");
        let mut sides = db.stream::<i64>(&sql, (item, 1));
        assert_eq!(sides.next().await?, Some(1));
        drop(sides);
        self.add_nothing().await
    }

    /// A stream is dropped, and another one read to its end.
    #[database_safe]
    async fn add_nothing(&self, db: &mut WriteTransaction) -> Result<()> {
        let mut rows = db.stream::<i64>(NUMBERS, ());
        assert_eq!(rows.next().await?, Some(1));
        drop(rows);
        let mut rows = db.stream::<i64>(NUMBERS, ());
        let mut last = 0;
        while let Some(row) = rows.next().await? {
            assert_eq!(row, last + 1);
            last = row;
        }
        assert_eq!(last, 20_000);
        Ok(())
    }

    #[database_safe]
    async fn add_and_fail(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        Err(Error::other("undone"))
    }

    #[database_safe]
    async fn halves(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one("SELECT count(*) FROM half WHERE item = ?1", (item,))
            .await
    }

    #[database_safe]
    async fn halves_by_call(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        let sql = "SELECT count(*) FROM half WHERE item = ?1";
        db.call(move |c| Ok(c.query_row(sql, (item,), |row| row.get(0))?))
            .await
    }

    #[database_safe]
    async fn halves_by_new_text(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one(
            &format!("SELECT count(*) FROM half WHERE item = {item}"),
            (),
        )
        .await
    }

    #[database_safe]
    async fn halves_by_stream(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        let mut rows = db.stream::<i64>(NUMBERS, ());
        let mut last = 0;
        while let Some(row) = rows.next().await? {
            last = row;
        }
        assert_eq!(last, 20_000);
        drop(rows);
        let sql = "SELECT side FROM half WHERE item = ?1";
        let mut sides = db.stream::<i64>(sql, (item,));
        let mut halves = 0;
        while sides.next().await?.is_some() {
            halves += 1;
        }
        Ok(halves)
    }

    /// Items of which there is exactly one half.
    #[database_safe]
    async fn half_items(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query(
            "SELECT item FROM half GROUP BY item HAVING count(*) = 1",
            (),
        )
        .await
    }
}

type Call =
    for<'a> fn(&'a Arc<Store>, i64) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

macro_rules! calls {
    ($($name:ident),*) => {
        [$((stringify!($name), |store, item| Box::pin(async move { store.$name(item).await.map(drop) }) as _)),*]
    };
}

/// Each adds an item.
const WRITES: [(&str, Call); 9] = calls!(
    add,
    add_by_new_text,
    add_by_call,
    add_nested,
    add_nested_joined,
    add_by_connection,
    add_waiting,
    add_many,
    add_by_stream
);

const READS: [(&str, Call); 11] = [
    ("halves", |store, item| {
        Box::pin(async move { store.halves(item).await.map(drop) })
    }),
    ("halves_by_call", |store, item| {
        Box::pin(async move { store.halves_by_call(item).await.map(drop) })
    }),
    ("halves_by_new_text", |store, item| {
        Box::pin(async move { store.halves_by_new_text(item).await.map(drop) })
    }),
    ("halves_by_stream", |store, item| {
        Box::pin(async move { store.halves_by_stream(item).await.map(drop) })
    }),
    ("add_and_fail", |store, item| {
        Box::pin(async move {
            assert!(store.add_and_fail(item).await.is_err());
            Ok(())
        })
    }),
    ("get_version", |store, _| {
        Box::pin(async move { store.get_version().await.map(drop) })
    }),
    ("update_version", |store, _| {
        Box::pin(async move { store.update_version(&Version::new(1, 0, 0)).await })
    }),
    ("ensure_ready", |store, _| {
        Box::pin(async move { store.ensure_ready().await })
    }),
    ("back_up", |store, item| {
        Box::pin(async move {
            store.ensure_ready().await?;
            let copy = store.path().unwrap().with_file_name(format!("copy-{item}"));
            store.back_up(&copy).at_full_speed().await?;
            let _ = std::fs::remove_file(copy);
            Ok(())
        })
    }),
    ("verify", |store, _| {
        Box::pin(async move {
            let found = store.verify().await?;
            assert!(found.is_sound(), "{found}");
            Ok(())
        })
    }),
    ("live", |store, item| {
        let mut halves = store.live(move |store| async move { store.halves(item).await });
        Box::pin(async move { halves.next().await.transpose().map(drop) })
    }),
];

/// The call of this name.
fn read(name: &str) -> Call {
    let found = READS.into_iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no read {name}")).1
}

/// A future that is never pending so often has lost its way.
const MANY: usize = 500;

fn config(directory: &Path) -> Config {
    Config::new(directory).durability(Durability::Normal)
}

fn next_item() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Eight tasks that write all the time and two that read, while `work` is done.
async fn company(store: &Arc<Store>, work: impl Future<Output = ()>) {
    let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), Vec::new());
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        readers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(store.halves(0).await.unwrap(), 0);
                tokio::task::yield_now().await;
            }
        }));
    }
    for _ in 0..8 {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut told = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let item = next_item();
                store.add(item).await.unwrap();
                told.push(item);
            }
            told
        }));
    }
    work.await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    for task in tasks {
        let told = task.await.unwrap();
        assert!(!told.is_empty());
        for item in told {
            assert_eq!(
                store.halves(item).await.unwrap(),
                2,
                "acknowledged and gone"
            );
        }
    }
}

impl Store {
    #[database_safe]
    async fn add_when_released(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        inside.notify_one();
        release.notified().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn endless_read(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn endless_read_in_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn endless_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.execute(ENDLESS_WRITE, ()).await?;
        Ok(0)
    }

    #[database_safe]
    async fn endless_nested(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        self.endless_write().await
    }

    #[database_safe]
    async fn endless_call(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.call(|c| Ok(c.query_row(ENDLESS, (), |row| row.get(0))?))
            .await
    }

    #[database_safe]
    async fn endless_connection(&self, db: &mut Connection) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }
}

type Endless = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<i64>> + Send + 'a>>;

const ENDLESS_CALLS: [(&str, Endless); 6] = [
    ("endless_read", |store| Box::pin(store.endless_read())),
    ("endless_read_in_write", |store| {
        Box::pin(store.endless_read_in_write())
    }),
    ("endless_write", |store| Box::pin(store.endless_write())),
    ("endless_nested", |store| Box::pin(store.endless_nested())),
    ("endless_call", |store| Box::pin(store.endless_call())),
    ("endless_connection", |store| {
        Box::pin(store.endless_connection())
    }),
];
