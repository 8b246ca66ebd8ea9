//! A schema of files, with some of its own for PostgreSQL: `schema/library` and `schema/library/postgres`.

use crate::support::shared;
use crate::within;
use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.1.0", schema = "library")]
struct Library {
    core: ManagerCore,
}

impl Library {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, title: &str) -> Result<u64> {
        db.query_one(
            "INSERT INTO book (title) VALUES (?1) RETURNING id",
            (title,),
        )
        .await
    }

    #[database_safe]
    async fn shout(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT shout(title) FROM book", ()).await
    }

    #[database_safe]
    async fn pages(&self, db: &mut ReadTransaction) -> Result<Option<u64>> {
        db.query_one("SELECT pages FROM book", ()).await
    }
}

/// One program, and one set of versions.
#[tokio::test]
async fn the_files_for_postgresql_make_and_migrate_the_schema() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let test = async {
        let config = || dbm_postgres::config(&database.description()).unwrap();
        let older = Library::create(config().version(Version::new(1, 0, 0)))
            .await
            .unwrap();
        older.add("Emma").await.unwrap();
        assert_eq!(older.shout().await.unwrap(), ["EMMA"]);
        older.close().await.unwrap();
        let library = Library::create(config()).await.unwrap();
        assert_eq!(library.get_version().await.unwrap(), Version::new(1, 1, 0));
        assert_eq!(library.pages().await.unwrap(), None);
        library.close().await.unwrap();
        let older = Library::create(config().version(Version::new(1, 0, 0))).await;
        assert!(matches!(older, Err(Error::TooNew { .. })));
        let file = Library::create(Config::in_memory()).await.unwrap();
        assert_eq!(file.add("Emma").await.unwrap(), 1);
        file.close().await.unwrap();
    };
    within(test).await;
}
