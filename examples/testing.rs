//! A store with its tests: a database of its own for each, a migration that is checked, a call that fails.
//!
//! ```sh
//! cargo test --example testing
//! ```

use std::sync::Arc;

use dbm_core::prelude::*;

/// Release 1.1.0. The release before it had no `done`.
#[derive(DbManager)]
#[db_manager(version = "1.1.0")]
struct Tasks {
    core: ManagerCore,
}

impl Schema for Tasks {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "CREATE TABLE task (text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0) STRICT";
        db.execute_batch(sql).await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        let sql = "ALTER TABLE task ADD COLUMN done INTEGER NOT NULL DEFAULT 0";
        db.execute_batch(sql).await?;
        Ok(true)
    }
}

impl Tasks {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
        db.execute("INSERT INTO task (text) VALUES (?1)", (text,))
            .await
            .map(drop)
    }

    #[database_safe]
    async fn open(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT text FROM task WHERE NOT done ORDER BY rowid", ())
            .await
    }
}

/// What the program answers to `add`.
async fn add(tasks: &Arc<Tasks>, text: &str) -> String {
    match tasks.add(text).await {
        Ok(()) => format!("Noted: {text}."),
        Err(error) => format!("This is not noted: {error}."),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let tasks = Tasks::create(Config::in_memory()).await?;
    println!("{}", add(&tasks, "write tests").await);
    tasks.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbm_core::testing::{self, Migration, MigrationError};

    #[tokio::test]
    async fn a_task_is_open_until_it_is_done() -> Result<()> {
        // A database of its own: nobody else sees it, and it is gone with its manager.
        let tasks = Tasks::create(Config::in_memory()).await?;
        tasks.add("write tests").await?;
        assert_eq!(tasks.open().await?, ["write tests"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_file_of_the_release_before_becomes_like_a_new_one() -> Result<(), MigrationError> {
        let tasks = Migration::from_sql("1.0.0", "CREATE TABLE task (text TEXT NOT NULL) STRICT")
            .seed("INSERT INTO task VALUES ('write tests')")
            .check::<Tasks>()
            .await?;
        assert_eq!(tasks.open().await?, ["write tests"]);
        Ok(())
    }

    #[tokio::test]
    async fn the_answer_says_so_when_a_task_is_lost() -> Result<()> {
        let tasks = Tasks::create(Config::in_memory()).await?;
        testing::fail_next(&tasks, "add", Error::other("the disk is full"));
        let answer = add(&tasks, "write tests").await;
        assert_eq!(answer, "This is not noted: the disk is full.");
        assert!(tasks.open().await?.is_empty());

        // The fault held for one call.
        assert_eq!(add(&tasks, "write tests").await, "Noted: write tests.");
        Ok(())
    }
}
