//! Whatever has `From<dbm_core::Error>` can be the error of a method, under any spelling of the `Result`.

use super::{Store, send, store};
use dbm_core::prelude::*;
use std::io;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Reply<T> = std::result::Result<T, UserError>;
type Done = Result<()>;
type Swapped<E, T> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
enum UserError {
    #[error("no user {0}")]
    NotFound(u64),
    #[error(transparent)]
    Database(#[from] Error),
}

#[derive(Debug)]
struct Io(io::Error);

impl From<Error> for Io {
    fn from(error: Error) -> Self {
        Self(io::Error::other(error))
    }
}

impl std::fmt::Display for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Store {
    #[database_safe]
    async fn anyhow(&self, db: &mut ReadTransaction, text: &str) -> anyhow::Result<u64> {
        let number: u64 = text.parse()?;
        anyhow::ensure!(number > 0, "zero");
        Ok(db.query_one("SELECT ?1", (number,)).await?)
    }

    #[database_safe]
    async fn boxed(&self, db: &mut ReadTransaction, text: &str) -> Result<u64, BoxError> {
        let number: u64 = text.parse()?;
        if number == 0 {
            return Err("zero".into());
        }
        Ok(db.query_one("SELECT ?1", (number,)).await?)
    }

    #[database_safe]
    async fn enumerated(&self, db: &mut ReadTransaction, id: u64) -> Result<u64, UserError> {
        db.query_optional("SELECT ?1 WHERE ?1 > 0", (id,))
            .await?
            .ok_or(UserError::NotFound(id))
    }

    #[database_safe]
    async fn io(&self, db: &mut ReadTransaction) -> io::Result<u64> {
        Ok(db.query_one("SELECT 1", ()).await?)
    }

    #[database_safe]
    #[fail_with_exception]
    async fn own(&self, db: &mut ReadTransaction) -> Result<u64, Io> {
        Ok(db.query_one("SELECT 1", ()).await?)
    }

    #[database_safe]
    async fn result_spelled_out(
        &self,
        db: &mut ReadTransaction,
    ) -> std::result::Result<u64, dbm_core::Error> {
        db.query_one("SELECT 1", ()).await
    }

    #[database_safe]
    async fn alias(&self, db: &mut ReadTransaction, id: u64) -> Reply<u64> {
        db.query_optional("SELECT ?1 WHERE ?1 > 0", (id,))
            .await?
            .ok_or(UserError::NotFound(id))
    }

    #[database_safe]
    #[fail_value(id)]
    async fn alias_with_a_fail_value(&self, db: &mut ReadTransaction, id: u64) -> Reply<u64> {
        db.query_optional("SELECT ?1 WHERE ?1 > 0", (id,))
            .await?
            .ok_or(UserError::NotFound(id))
    }

    #[database_safe]
    #[fail_value(())]
    async fn alias_without_arguments(&self, db: &mut WriteTransaction) -> Done {
        db.query_one::<u64>("SELECT 1", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_value((9, None))]
    #[fail_with_exception]
    async fn alias_with_both(
        &self,
        _db: &mut ReadTransaction,
    ) -> Swapped<UserError, (u8, Option<UserError>)> {
        Err(UserError::NotFound(9))
    }

    #[required_argument(id)]
    async fn alone(&self, id: Option<u64>) -> anyhow::Result<u64> {
        Ok(id.unwrap_or_default())
    }
}

#[tokio::test]
async fn each_error_keeps_its_own_type() {
    let store = store().await;
    assert_eq!(send(store.anyhow("5")).await.unwrap(), 5);
    assert!(
        store
            .anyhow("x")
            .await
            .unwrap_err()
            .downcast_ref::<std::num::ParseIntError>()
            .is_some()
    );
    assert_eq!(store.anyhow("0").await.unwrap_err().to_string(), "zero");
    assert_eq!(send(store.boxed("5")).await.unwrap(), 5);
    assert_eq!(store.boxed("0").await.unwrap_err().to_string(), "zero");
    assert_eq!(send(store.enumerated(5)).await.unwrap(), 5);
    assert!(matches!(
        store.enumerated(0).await,
        Err(UserError::NotFound(0))
    ));
    assert_eq!(send(store.io()).await.unwrap(), 1);
    assert_eq!(send(store.own()).await.unwrap(), 1);
    assert_eq!(send(store.result_spelled_out()).await.unwrap(), 1);
}

#[tokio::test]
async fn aliases_of_result() {
    let store = store().await;
    assert_eq!(send(store.alias(5)).await.unwrap(), 5);
    assert!(matches!(store.alias(0).await, Err(UserError::NotFound(0))));
    assert_eq!(send(store.alias_with_a_fail_value(0)).await, 0);
    let () = send(store.alias_without_arguments()).await;
    assert!(matches!(
        send(store.alias_with_both()).await,
        (9, Some(UserError::NotFound(9)))
    ));
}

#[tokio::test]
async fn the_libraries_error_arrives_in_each_of_them() {
    let store = store().await;
    store.close().await.unwrap();
    assert!(
        store
            .anyhow("5")
            .await
            .unwrap_err()
            .downcast_ref::<Error>()
            .is_some()
    );
    assert!(
        store
            .boxed("5")
            .await
            .unwrap_err()
            .downcast_ref::<Error>()
            .is_some()
    );
    assert!(matches!(
        store.enumerated(5).await,
        Err(UserError::Database(Error::Closed { .. }))
    ));
    assert!(
        store
            .io()
            .await
            .unwrap_err()
            .get_ref()
            .unwrap()
            .downcast_ref::<Error>()
            .is_some()
    );
    assert!(
        store
            .own()
            .await
            .unwrap_err()
            .0
            .get_ref()
            .unwrap()
            .downcast_ref::<Error>()
            .is_some()
    );
    assert!(
        store
            .alone(None)
            .await
            .unwrap_err()
            .downcast_ref::<Error>()
            .is_some()
    );
    assert_eq!(store.alias_with_a_fail_value(7).await, 7);
}
