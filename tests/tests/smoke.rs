//! The main job, end to end.

use dbm_core::prelude::*;
use std::time::Duration;

#[derive(DbManager)]
#[db_manager(version = "1.1.0")]
struct Store {
    core: ManagerCore,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct User {
    id: u64,
    name: String,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(
            "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT",
            (),
        )
        .await?;
        Ok(())
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

impl Store {
    #[database_safe]
    async fn add_user(&self, db: &mut WriteTransaction, id: u64, name: &str) -> Result<()> {
        db.execute("INSERT INTO user (id, name) VALUES (?1, ?2)", (id, name))
            .await?;
        Ok(())
    }

    #[database_safe]
    #[fail_value(None)]
    #[timed]
    async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<User>> {
        db.query_optional("SELECT id, name FROM user WHERE id = ?1", (id,))
            .await
    }
}

async fn story() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("dbm-smoke-{}", std::process::id()));
    let store = Store::create(Config::new(&dir)).await?;
    store.add_user(1, "Ada").await?;
    assert_eq!(
        store.user(1).await,
        Some(User {
            id: 1,
            name: "Ada".to_owned()
        })
    );
    assert_eq!(store.user(2).await, None);
    for i in 10..200 {
        store.add_user(i, "x").await?;
        assert!(store.user(i).await.is_some());
    }
    let mut tasks = vec![];
    for i in 200..300 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move { store.add_user(i, "y").await }));
    }
    for task in tasks {
        task.await.unwrap()?;
    }
    assert!(store.add_user(1, "again").await.is_err());
    assert_eq!(store.get_version().await?, Version::new(1, 1, 0));
    store.close().await?;
    let names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["database.db"]);
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_lives_from_start_to_close() {
    tokio::time::timeout(Duration::from_secs(60), story())
        .await
        .unwrap()
        .unwrap();
}
