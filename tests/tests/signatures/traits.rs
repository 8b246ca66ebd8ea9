//! Native async traits: implementations, default bodies, generic traits, and traits that promise `Send`.

use super::{Store, send, store};
use dbm_core::prelude::*;
use std::borrow::Cow;

/// What callers see: no handle.
#[allow(async_fn_in_trait)]
trait Users {
    type Key: ToString;

    async fn name(&self, id: u64) -> Result<String>;
    async fn name_or_nobody(&self, id: &Self::Key) -> String;
}

impl Users for Store {
    type Key = u32;

    #[database_safe]
    async fn name(&self, db: &mut ReadTransaction, id: u64) -> Result<String> {
        db.query_one("SELECT 'user ' || ?1", (id,)).await
    }

    #[database_safe]
    #[fail_value("nobody".to_owned())]
    async fn name_or_nobody(&self, _db: &mut ReadTransaction, id: &Self::Key) -> Result<String> {
        Err(Error::other(format!("no user {id}")))
    }
}

#[allow(async_fn_in_trait)]
trait Count: DbManager {
    const TABLE: &'static str;

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT length(?1)", (Self::TABLE,)).await
    }

    #[database_safe]
    #[fail_value(0)]
    async fn count_or_zero<T: ToString + Send>(
        &self,
        _db: &mut ReadTransaction,
        table: T,
    ) -> Result<usize> {
        Err(Error::other(table.to_string()))
    }

    #[timed]
    async fn timed(&self) -> &'static str {
        Self::TABLE
    }
}

impl Count for Store {
    const TABLE: &'static str = "user";
}

/// A trait that promises `Send` futures, implemented with plain `async fn`.
trait Texts<T> {
    fn text(&self, id: T) -> impl Future<Output = Result<String>> + Send;
    fn store(
        &self,
        text: impl Into<Cow<'static, str>> + Send,
    ) -> impl Future<Output = Result<usize>> + Send;
    fn borrowed<'a>(&'a self, text: &'a str) -> impl Future<Output = Result<&'a str>> + Send;
}

impl<T: ToString + Send + Sync> Texts<T> for Store {
    #[database_safe]
    async fn text(&self, db: &mut ReadTransaction, id: T) -> Result<String> {
        db.query_one("SELECT ?1", (id.to_string(),)).await
    }

    #[database_safe]
    async fn store(
        &self,
        db: &mut WriteTransaction,
        text: impl Into<Cow<'static, str>> + Send,
    ) -> Result<usize> {
        let text: Cow<'static, str> = text.into();
        db.query_one("SELECT length(?1)", (text.as_ref(),)).await
    }

    #[database_safe]
    async fn borrowed<'a>(&'a self, db: &mut ReadTransaction, text: &'a str) -> Result<&'a str> {
        db.query_one::<u64>("SELECT 1", ()).await?;
        Ok(text)
    }
}

async fn through_the_trait(texts: &(impl Texts<u8> + Sync)) -> Result<String> {
    let length = send(texts.store(String::from("four"))).await?;
    Ok(format!("{}{length}", texts.text(7).await?))
}

#[tokio::test]
async fn implementations_and_default_bodies() {
    let store = store().await;
    assert_eq!(send(store.name(3)).await.unwrap(), "user 3");
    assert_eq!(send(store.name_or_nobody(&3)).await, "nobody");
    assert_eq!(send(store.count()).await.unwrap(), 4);
    assert_eq!(send(store.count_or_zero("user")).await, 0);
    assert_eq!(send(store.timed()).await, "user");
    assert_eq!(send(through_the_trait(&*store)).await.unwrap(), "74");
    assert_eq!(
        send(Texts::<u8>::borrowed(&*store, "b")).await.unwrap(),
        "b"
    );
}

#[tokio::test]
async fn spawned() {
    let store = store().await;
    let task = tokio::spawn(async move {
        let text = through_the_trait(&*store).await?;
        Ok::<_, Error>((text, store.name(1).await?, store.count().await?))
    });
    assert_eq!(
        task.await.unwrap().unwrap(),
        ("74".to_owned(), "user 1".to_owned(), 4)
    );
}
