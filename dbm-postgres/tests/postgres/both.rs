//! What a manager promises whatever its database is: one set of bodies, on SQLite and on PostgreSQL.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::support::shared;
use crate::within;
use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};
use tokio::sync::Notify;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    entered: Notify,
    go_on: Notify,
}

/// Portable SQL: PostgreSQL's names of types, which SQLite takes, too.
impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE account (id bigint PRIMARY KEY, name text NOT NULL UNIQUE, coins bigint NOT NULL CHECK (coins >= 0));
             CREATE TABLE entry (number bigint PRIMARY KEY, account bigint NOT NULL REFERENCES account (id), note text);
             CREATE INDEX entry_account ON entry (account);",
        )
        .await
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Account {
    id: u64,
    name: String,
    coins: i64,
}

impl Store {
    #[database_safe]
    async fn open(&self, db: &mut WriteTransaction, id: i64, name: &str) -> Result<()> {
        let sql = "INSERT INTO account (id, name, coins) VALUES (:id, :name, 0)";
        db.execute(sql, ((":id", id), (":name", name))).await?;
        Ok(())
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, id: i64, coins: i64) -> Result<i64> {
        let sql = "UPDATE account SET coins = coins + ?2 WHERE id = ?1 RETURNING coins";
        db.query_one(sql, (id, coins)).await
    }

    #[database_safe]
    async fn enter(
        &self,
        db: &mut WriteTransaction,
        number: i64,
        account: i64,
        note: Option<&str>,
    ) -> Result<usize> {
        let sql = "INSERT INTO entry VALUES (?, ?, ?)";
        db.execute(sql, (number, account, note)).await
    }

    /// Reads, thinks and writes: two at a time would lose one of the increments.
    #[database_safe]
    async fn increment(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        let coins: i64 = db
            .query_one("SELECT coins FROM account WHERE id = ?1", (id,))
            .await?;
        tokio::task::yield_now().await;
        db.execute(
            "UPDATE account SET coins = ?2 WHERE id = ?1",
            (id, coins + 1),
        )
        .await?;
        Ok(())
    }

    /// What fails inside is undone by itself.
    #[database_safe]
    async fn transfer(
        &self,
        db: &mut WriteTransaction,
        from: i64,
        to: i64,
        coins: i64,
    ) -> Result<(bool, i64)> {
        let moved = self.move_coins(from, to, coins).await.is_ok();
        let left = "SELECT coins FROM account WHERE id = ?1";
        Ok((moved, db.query_one(left, (from,)).await?))
    }

    #[database_safe]
    async fn move_coins(
        &self,
        _: &mut WriteTransaction,
        from: i64,
        to: i64,
        coins: i64,
    ) -> Result<()> {
        self.add(to, coins).await?;
        self.add(from, -coins).await.map(drop)
    }

    #[database_safe]
    async fn accounts(&self, db: &mut ReadTransaction) -> Result<Vec<Account>> {
        db.query("SELECT id, name, coins FROM account ORDER BY id", ())
            .await
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn coins(&self, db: &mut ReadTransaction, id: i64) -> Result<i64> {
        db.query_one("SELECT coins FROM account WHERE id = ?1", (id,))
            .await
    }

    #[database_safe]
    #[required_argument(id, name)]
    async fn find(
        &self,
        db: &mut ReadTransaction,
        id: Option<i64>,
        name: Option<&str>,
    ) -> Result<Option<String>> {
        let sql = "SELECT name FROM account WHERE id = ?1 OR name = ?2";
        db.query_optional(sql, (id, name)).await
    }

    /// Two statements of one snapshot, and what another call writes between them.
    #[database_safe]
    async fn sum_twice(&self, db: &mut ReadTransaction) -> Result<(i64, i64)> {
        let sum = "SELECT cast(coalesce(sum(coins), 0) AS bigint) FROM account";
        let first = db.query_one(sql_of(sum), ()).await?;
        self.entered.notify_one();
        self.go_on.notified().await;
        Ok((first, db.query_one(sql_of(sum), ()).await?))
    }

    #[database_safe]
    async fn write_in_a_read(&self, _: &mut ReadTransaction) -> Result<()> {
        self.open(9, "nobody").await
    }

    #[database_safe(timeout = "100ms")]
    async fn wait(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("UPDATE account SET coins = 99 WHERE id = ?1", (id,))
            .await?;
        std::future::pending().await
    }

    #[database_safe]
    #[fail_with_exception]
    async fn panics(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("UPDATE account SET coins = 99 WHERE id = ?1", (id,))
            .await?;
        panic!("on purpose")
    }

    #[database_safe]
    async fn hold(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("UPDATE account SET coins = coins", ()).await?;
        self.entered.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    /// A step of the random walk, and those inside it.
    #[database_safe]
    async fn walk(&self, db: &mut WriteTransaction, step: &Step) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for write in &step.writes {
            // What fails ends this call, and what it has done.
            let (sql, values) = write;
            told.push(format!("{} rows", db.execute(sql, *values).await?));
        }
        for inner in &step.inside {
            match Box::pin(self.walk(inner)).await {
                Ok(inner) => told.extend(inner),
                Err(error) => told.push(kind(&error).to_owned()),
            }
        }
        let all: Vec<(i64, i64)> = db
            .query("SELECT id, coins FROM account ORDER BY id", ())
            .await?;
        told.push(format!("{all:?}"));
        if step.fails {
            Err(Error::other("as it was told"))
        } else {
            Ok(told)
        }
    }
}

/// So that the body is not taken for one of a single statement.
fn sql_of(sql: &str) -> &str {
    sql
}

/// What is the same of an error, whatever the database.
fn kind(error: &Error) -> &'static str {
    match error {
        _ if error.is_unique_violation() => "unique",
        _ if error.is_foreign_key_violation() => "foreign key",
        Error::Other(_) => "own",
        Error::Sqlite(_) | Error::Server { .. } => "refused",
        _ => "another one",
    }
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Sqlite,
    PostgreSql(Writers),
}

const ENGINES: [Engine; 4] = [
    Engine::Sqlite,
    Engine::PostgreSql(Writers::Sharing),
    Engine::PostgreSql(Writers::InTurn),
    Engine::PostgreSql(Writers::Serializable),
];

impl Engine {
    /// A new database. `None` where there is no PostgreSQL.
    fn config(self) -> Option<Config> {
        match self {
            Self::Sqlite => Some(Config::in_memory()),
            Self::PostgreSql(writers) => {
                let database = shared()?.database();
                let postgres = Postgres::new(&database.description()).unwrap();
                Some(postgres.writers(writers).into())
            }
        }
    }

    async fn store_with(self, set: impl Fn(Config) -> Config) -> Option<Arc<Store>> {
        let make = |core| Store {
            core,
            entered: Notify::new(),
            go_on: Notify::new(),
        };
        Some(Store::create_with(set(self.config()?), make).await.unwrap())
    }

    async fn store(self) -> Option<Arc<Store>> {
        self.store_with(|config| config).await
    }
}

/// Runs a body on each of them.
async fn on_each<F: Future<Output = ()>>(
    engines: &[Engine],
    body: impl Fn(Engine, Arc<Store>) -> F,
) {
    for engine in engines {
        if let Some(store) = engine.store().await {
            println!("{engine:?}");
            let run = async {
                body(*engine, Arc::clone(&store)).await;
                store.close().await.unwrap();
            };
            within(run).await;
        }
    }
}

#[tokio::test]
async fn rows_nested_calls_and_errors_are_the_same() {
    on_each(&ENGINES, async |_, store| {
        store.open(1, "Ada").await.unwrap();
        store.open(2, "Bob").await.unwrap();
        assert!(
            store
                .open(3, "Ada")
                .await
                .unwrap_err()
                .is_unique_violation()
        );
        assert!(
            store
                .enter(1, 7, None)
                .await
                .unwrap_err()
                .is_foreign_key_violation()
        );
        assert_eq!(store.enter(1, 2, None).await.unwrap(), 1);
        assert!(matches!(store.add(7, 1).await.unwrap_err(), Error::NoRows));
        assert_eq!(store.add(1, 10).await.unwrap(), 10);
        assert_eq!(store.transfer(1, 2, 4).await.unwrap(), (true, 6));
        assert_eq!(store.transfer(1, 2, 40).await.unwrap(), (false, 6));
        let account = |id, name: &str, coins| Account {
            id,
            name: name.to_owned(),
            coins,
        };
        assert_eq!(
            store.accounts().await.unwrap(),
            [account(1, "Ada", 6), account(2, "Bob", 4)]
        );
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_attributes_do_the_same() {
    on_each(&ENGINES, async |_, store| {
        store.open(1, "Ada").await.unwrap();
        assert_eq!((store.coins(1).await, store.coins(2).await), (0, -1));
        assert_eq!(
            store.find(None, Some("Ada")).await.unwrap().as_deref(),
            Some("Ada")
        );
        assert_eq!(store.find(Some(8), None).await.unwrap(), None);
        assert!(matches!(
            store.find(None, None).await,
            Err(Error::MissingArgument { .. })
        ));
        assert!(matches!(
            store.wait(1).await,
            Err(Error::Timeout { method: "wait", .. })
        ));
        assert!(matches!(store.panics(1).await, Err(Error::Panicked { .. })));
        assert!(matches!(
            store.write_in_a_read().await,
            Err(Error::Nesting { .. })
        ));
        assert_eq!(store.coins(1).await, 0);
        let metrics = store.metrics();
        let of = |name: &str| {
            metrics
                .methods
                .iter()
                .find(|method| method.method == name)
                .unwrap()
                .calls
        };
        assert_eq!((of("open").ok, of("wait").ok), (1, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_increment_is_lost_among_many_tasks() {
    on_each(&ENGINES, async |_, store| {
        store.open(1, "Ada").await.unwrap();
        let tasks = (0..16).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..8 {
                    loop {
                        match store.increment(1).await {
                            Err(error) if error.is_retryable() => {}
                            outcome => break outcome.unwrap(),
                        }
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(store.coins(1).await, 128);
    })
    .await;
}

#[tokio::test]
async fn a_read_sees_one_state_while_others_write() {
    on_each(&ENGINES, async |_, store| {
        store.open(1, "Ada").await.unwrap();
        store.add(1, 5).await.unwrap();
        let reads = store.sum_twice();
        let writes = async {
            store.entered.notified().await;
            store.add(1, 10).await.unwrap();
            store.go_on.notify_one();
        };
        let (read, ()) = tokio::join!(reads, writes);
        assert_eq!(read.unwrap(), (5, 5));
        assert_eq!(
            store.coins(1).await,
            15,
            "a read sees what was acknowledged before it"
        );
    })
    .await;
}

/// Where writers run side by side, they do not wait for one another.
const IN_TURN: [Engine; 3] = [ENGINES[0], ENGINES[1], ENGINES[2]];

#[tokio::test]
async fn who_waits_too_long_or_behind_too_many_is_told_who_holds_the_turn() {
    for engine in IN_TURN {
        let set = |config: Config| {
            config
                .max_queue(1)
                .acquire_timeout(Duration::from_millis(300))
        };
        let Some(store) = engine.store_with(set).await else {
            continue;
        };
        let holds = async { store.hold().await };
        let waits = async {
            store.entered.notified().await;
            let mut first = pin!(store.open(1, "Ada"));
            let first_waits = poll_fn(|context| {
                std::task::Poll::Ready(first.as_mut().poll(context).is_pending())
            })
            .await;
            assert!(first_waits);
            let second = store.open(2, "Bob").await.unwrap_err();
            assert!(
                matches!(
                    second,
                    Error::Overloaded {
                        method: "open",
                        queued: 1
                    }
                ),
                "{second}"
            );
            let first = first.await.unwrap_err();
            assert!(
                matches!(
                    first,
                    Error::AcquireTimeout {
                        method: "open",
                        holder: "hold",
                        ..
                    }
                ),
                "{first}"
            );
            assert!(first.is_retryable() && second.is_retryable());
            store.go_on.notify_one();
        };
        let (held, ()) = tokio::join!(holds, waits);
        // A server takes the lock from one that has kept it for as long as others wait, and did nothing.
        assert!(
            matches!(held, Ok(()) | Err(Error::Disconnected { .. })),
            "{held:?}"
        );
        store.open(1, "Ada").await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn close_waits_for_those_who_were_there_and_refuses_those_who_come_later() {
    on_each(&IN_TURN, async |_, store| {
        store.open(1, "Ada").await.unwrap();
        let holds = async {
            store.hold().await.unwrap();
        };
        let closes = async {
            store.entered.notified().await;
            let mut waits = pin!(store.add(1, 1));
            assert!(
                poll_fn(|context| std::task::Poll::Ready(
                    waits.as_mut().poll(context).is_pending()
                ))
                .await
            );
            let mut closing = pin!(store.close());
            assert!(
                poll_fn(|context| std::task::Poll::Ready(
                    closing.as_mut().poll(context).is_pending()
                ))
                .await
            );
            assert!(matches!(store.add(1, 1).await, Err(Error::Closed { .. })));
            store.go_on.notify_one();
            assert_eq!(waits.await.unwrap(), 1);
            closing.await.unwrap();
        };
        tokio::join!(holds, closes);
    })
    .await;
}

/// What a call of the random walk does.
#[derive(Debug)]
struct Step {
    writes: Vec<(&'static str, (i64, i64))>,
    inside: Vec<Step>,
    fails: bool,
}

/// Knuth's numbers, so that a seed says everything.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn step(&mut self, depth: u64) -> Step {
        const SQL: [&str; 5] = [
            "INSERT INTO account VALUES (?1, 'name ' || cast(cast(?1 AS bigint) AS text), ?2)",
            "UPDATE account SET coins = coins - ?2 WHERE id = ?1",
            "UPDATE account SET coins = coins + ?2 WHERE id <> ?1",
            "DELETE FROM account WHERE id = ?1 OR coins = ?2",
            "INSERT INTO entry (number, account) VALUES (?2, ?1)",
        ];
        let writes = (0..self.below(3)).map(|_| {
            let sql = SQL[self.below(5) as usize];
            (sql, (self.below(6) as i64, self.below(9) as i64))
        });
        let writes = writes.collect();
        let inside = if depth < 3 { self.below(3) } else { 0 };
        Step {
            writes,
            inside: (0..inside).map(|_| self.step(depth + 1)).collect(),
            fails: self.below(6) == 0,
        }
    }
}

/// The same calls have the same outcomes, and the same rows are there afterwards.
#[tokio::test]
async fn a_random_walk_of_nested_calls_ends_in_the_same_place() {
    within(async {
        for seed in 0..12 {
            let mut outcomes = Vec::new();
            for engine in ENGINES {
                let Some(store) = engine.store().await else {
                    continue;
                };
                let mut random = Random(seed);
                let mut told = Vec::new();
                for _ in 0..25 {
                    let step = random.step(0);
                    told.push(match store.walk(&step).await {
                        Ok(told) => told.join(", "),
                        Err(error) => kind(&error).to_owned(),
                    });
                }
                told.push(format!("{:?}", store.accounts().await.unwrap()));
                store.close().await.unwrap();
                outcomes.push((engine, told));
            }
            for (engine, told) in &outcomes[1..] {
                for (call, (here, there)) in outcomes[0].1.iter().zip(told).enumerate() {
                    assert_eq!(here, there, "seed {seed}, call {call}, {engine:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_comes_back_as_it_went() {
    on_each(&ENGINES, async |_, store| {
        store.open(1, "Ünï 🦀 'quoted'").await.unwrap();
        store.add(1, i64::MAX).await.unwrap();
        let accounts = store.accounts().await.unwrap();
        assert_eq!(
            (accounts[0].name.as_str(), accounts[0].coins),
            ("Ünï 🦀 'quoted'", i64::MAX)
        );
        let overflow = store.add(1, 1).await;
        assert!(overflow.is_err(), "{overflow:?}");
    })
    .await;
}
