//! The economy of a chat bot: balances, transfers, a daily reward and a leaderboard.
//!
//! ```sh
//! cargo run --example economy
//! cargo run --example economy -- "host=localhost user=economy dbname=economy"
//! ```
//!
//! The second one keeps it on PostgreSQL. Nothing else changes, but the file of the schema: `schema/economy/postgres`.

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "economy", checked(strict))]
struct Economy {
    core: ManagerCore,
}

/// An error of your own. It needs a place for dbm's.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("you do not have {0} coins")]
    NotEnough(u32),
    #[error("there is no account {0}")]
    NoAccount(u64),
    #[error(transparent)]
    Database(#[from] Error),
}

impl Economy {
    #[database_safe]
    async fn open(&self, db: &mut WriteTransaction, user: u64, name: &str) -> Result<()> {
        let sql = "INSERT INTO account (id, name) VALUES (?1, ?2)";
        db.execute(sql, (user, name)).await.map(drop)
    }

    /// By number or by name. A call with neither is an error.
    #[database_safe]
    #[required_argument(user, name)]
    async fn balance(
        &self,
        db: &mut ReadTransaction,
        user: Option<u64>,
        name: Option<&str>,
    ) -> Result<i64> {
        let sql = "SELECT coins FROM account WHERE id = ?1 OR name = ?2";
        db.query_one(sql, (user, name)).await
    }

    /// Moves all the coins or none: an `Err` undoes the statements before it.
    #[database_safe]
    async fn transfer(
        &self,
        db: &mut WriteTransaction,
        from: u64,
        to: u64,
        coins: u32,
    ) -> Result<(), Refusal> {
        let take = "UPDATE account SET coins = coins - ?2 WHERE id = ?1 AND coins >= ?2";
        if db.execute(take, (from, coins)).await? == 0 {
            return Err(Refusal::NotEnough(coins));
        }
        let give = "UPDATE account SET coins = coins + ?2 WHERE id = ?1";
        if db.execute(give, (to, coins)).await? == 0 {
            return Err(Refusal::NoAccount(to));
        }
        Ok(())
    }

    /// 100 coins a day. Returns the balance, or `None` if the reward of that day is taken.
    #[database_safe]
    async fn reward(&self, db: &mut WriteTransaction, user: u64, day: u32) -> Result<Option<i64>> {
        let sql = "UPDATE account SET coins = coins + 100, rewarded_on = ?2
                   WHERE id = ?1 AND rewarded_on < ?2 RETURNING coins";
        db.query_optional(sql, (user, day)).await
    }

    /// The richest first. If the database fails, the list is empty and the cause is logged.
    #[database_safe]
    #[fail_value(Vec::new())]
    async fn leaderboard(&self, db: &mut ReadTransaction) -> Result<Vec<(String, i64)>> {
        let sql = "SELECT name, coins FROM account ORDER BY coins DESC, name LIMIT 10";
        db.query(sql, ()).await
    }
}

/// Where the accounts are: in memory, or on the server that the first argument describes.
fn config() -> Result<Config> {
    match std::env::args().nth(1) {
        Some(server) => dbm_postgres::config(&server),
        None => Ok(Config::in_memory()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Refusal> {
    run(config()?).await
}

async fn run(config: Config) -> Result<(), Refusal> {
    let economy = Economy::create(config).await?;
    economy.open(1, "Ada").await?;
    economy.open(2, "Grace").await?;
    assert_eq!(economy.reward(1, 20_000).await?, Some(100));
    assert_eq!(economy.reward(1, 20_000).await?, None);

    economy.transfer(1, 2, 30).await?;
    let too_much = economy.transfer(1, 2, 71).await;
    assert!(matches!(too_much, Err(Refusal::NotEnough(71))));
    let to_nobody = economy.transfer(1, 3, 70).await;
    assert!(matches!(to_nobody, Err(Refusal::NoAccount(3))));
    assert_eq!(economy.balance(None, Some("Ada")).await?, 70);

    for (name, coins) in economy.leaderboard().await {
        println!("{name:<8}{coins:>6}");
    }
    economy.close().await?;
    assert!(economy.leaderboard().await.is_empty());
    Ok(())
}

#[cfg(test)]
#[path = "../dbm-postgres/tests/support/mod.rs"]
mod support;

#[cfg(test)]
#[tokio::test]
async fn it_runs_on_both() -> Result<(), Refusal> {
    run(Config::in_memory()).await?;
    if let Some(server) = support::shared() {
        run(dbm_postgres::config(&server.database().description())?).await?;
    }
    Ok(())
}
