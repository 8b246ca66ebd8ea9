//! The example of the README, and every attribute, in a crate that knows nothing but the prelude.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    greeting: String,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct User {
    id: u64,
    name: String,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
            .await?;
        self.add(1, "root").await
    }
}

impl Store {
    #[database_safe]
    #[during_init]
    async fn add(&self, db: &mut WriteTransaction, id: u64, name: &str) -> Result<()> {
        db.execute("INSERT INTO user (id, name) VALUES (?1, ?2)", (id, name))
            .await?;
        Ok(())
    }

    #[timed(slow = "1s")]
    #[fail_value(None)]
    #[required_argument(id, name)]
    #[database_safe(timeout = "5s")]
    async fn find(
        &self,
        db: &mut ReadTransaction,
        id: Option<u64>,
        name: Option<&str>,
    ) -> Result<Option<User>> {
        db.query_optional(
            "SELECT id, name FROM user WHERE id = ?1 OR name = ?2",
            (id, name),
        )
        .await
    }

    #[database_safe]
    #[fail_value((0, None))]
    #[fail_with_exception]
    async fn count(&self, db: &mut ReadTransaction, table: &str) -> Result<(u64, Option<Error>)> {
        let sql = format!("SELECT count(*) FROM {table}");
        Ok((db.query_one(&sql, ()).await?, None))
    }

    #[database_safe]
    async fn tidy(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }

    #[database_safe]
    async fn greet(self: &Arc<Self>, db: &mut ReadTransaction, id: u64) -> Result<String> {
        let name: String = db
            .query_one("SELECT name FROM user WHERE id = :id", ((":id", id),))
            .await?;
        Ok(format!("{}, {name}", self.greeting))
    }
}

async fn story() -> Result<()> {
    let store = Store::create_with(Config::in_memory(), |core| Store {
        core,
        greeting: "Hello".to_owned(),
    })
    .await?;
    let adding = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.add(2, "Ada").await })
    };
    adding.await.map_err(Error::other)??;
    let ada = Some(User {
        id: 2,
        name: "Ada".to_owned(),
    });
    assert_eq!(store.find(Some(2), None).await, ada);
    assert_eq!(store.find(None, None).await, None);
    assert_eq!(store.greet(1).await?, "Hello, root");
    let (users, cause) = store.count("user").await;
    assert!(users == 2 && cause.is_none());
    let (nothing, cause) = store.count("no_such_table").await;
    assert!(nothing == 0 && cause.is_some());
    store.tidy().await?;
    assert_eq!(store.get_version().await?, Version::new(1, 0, 0));
    assert_eq!(store.status(), Status::Running);
    store.close_within(Duration::from_secs(5)).await?;
    assert!(matches!(store.add(3, "x").await, Err(Error::Closed { .. })));
    Ok(())
}

#[tokio::test]
async fn a_user_needs_the_prelude_alone() {
    tokio::time::timeout(Duration::from_secs(60), story())
        .await
        .unwrap()
        .unwrap();
}
