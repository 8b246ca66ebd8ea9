//! Generics, lifetimes, `impl Trait`, where-clauses.

use super::{Store, send, store};
use dbm_core::prelude::*;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt::Display;

impl Store {
    #[database_safe]
    async fn generic_row<T: DeserializeOwned + Send + 'static>(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
    ) -> Result<T> {
        db.query_one(sql, ()).await
    }

    #[database_safe]
    async fn recursive(&self, db: &mut WriteTransaction, depth: u64) -> Result<u64> {
        let one: u64 = db.query_one("SELECT 1", ()).await?;
        if depth == 0 {
            return Ok(one);
        }
        Ok(one + self.recursive(depth - 1).await?)
    }

    #[database_safe]
    async fn generic<T: Display + Sync>(
        &self,
        db: &mut ReadTransaction,
        value: &T,
    ) -> Result<String> {
        db.query_one("SELECT ?1", (value.to_string(),)).await
    }

    #[database_safe]
    async fn constant<const N: usize>(
        &self,
        db: &mut ReadTransaction,
        values: [u64; N],
    ) -> Result<u64> {
        let mut sum = 0;
        for value in values {
            sum += db.query_one::<u64>("SELECT ?1", (value,)).await?;
        }
        Ok(sum)
    }

    #[database_safe]
    async fn where_clause<'a, T, U>(
        &self,
        db: &mut ReadTransaction,
        value: &'a T,
        other: U,
    ) -> Result<(u64, &'a T, U)>
    where
        T: ?Sized + Sync,
        U: Clone + Send + 'a,
    {
        let one = db.query_one("SELECT 1", ()).await?;
        Ok((one, value, other.clone()))
    }

    #[database_safe]
    #[fail_value("")]
    async fn named_lifetime<'a>(
        &self,
        db: &mut ReadTransaction,
        text: &'a str,
        _other: &str,
    ) -> Result<&'a str> {
        let length: usize = db.query_one("SELECT length(?1)", (text,)).await?;
        Ok(&text[..length - 1])
    }

    #[database_safe]
    async fn lifetime_of_self(&self, _db: &mut ReadTransaction) -> Result<&ManagerCore> {
        Ok(&self.core)
    }

    #[database_safe]
    async fn anonymous_lifetime(
        &self,
        db: &mut ReadTransaction,
        text: Cow<'_, str>,
    ) -> Result<Cow<'_, str>> {
        let text: String = db.query_one("SELECT upper(?1)", (text.as_ref(),)).await?;
        Ok(Cow::Owned(text))
    }

    #[database_safe]
    async fn impl_argument(
        &self,
        db: &mut ReadTransaction,
        text: impl Into<String>,
    ) -> Result<String> {
        db.query_one("SELECT ?1", (text.into(),)).await
    }

    #[database_safe]
    #[timed]
    #[fail_value(String::new())]
    async fn impl_cow(
        &self,
        db: &mut ReadTransaction,
        text: impl Into<Cow<'static, str>> + Send,
    ) -> Result<String> {
        let text: Cow<'static, str> = text.into();
        db.query_one("SELECT ?1", (text.as_ref(),)).await
    }

    #[database_safe]
    async fn impl_closure(
        &self,
        db: &mut ReadTransaction,
        keep: impl Fn(u64) -> bool + Send + Sync,
    ) -> Result<Vec<u64>> {
        let all: Vec<u64> = db.query("VALUES (1), (2), (3)", ()).await?;
        Ok(all.into_iter().filter(|&one| keep(one)).collect())
    }

    #[database_safe]
    async fn impl_return(
        &self,
        db: &mut ReadTransaction,
        by: u64,
    ) -> Result<impl Iterator<Item = u64> + use<>> {
        let all: Vec<u64> = db.query("VALUES (1), (2), (3)", ()).await?;
        Ok(all.into_iter().map(move |one| one * by))
    }

    #[timed]
    async fn impl_return_timed(&self, by: u64) -> impl Iterator<Item = u64> + use<> {
        (1..3).map(move |one| one * by)
    }
}

#[tokio::test]
async fn they_do_what_their_bodies_say() {
    let store = store().await;
    assert_eq!(send(store.generic_row::<u8>("SELECT 8")).await.unwrap(), 8);
    assert_eq!(send(store.recursive(3)).await.unwrap(), 4);
    assert_eq!(send(store.generic(&7)).await.unwrap(), "7");
    assert_eq!(send(store.constant([1, 2, 3])).await.unwrap(), 6);
    assert_eq!(
        send(store.where_clause("text", 'c')).await.unwrap(),
        (1, "text", 'c')
    );
    assert_eq!(
        send(store.named_lifetime("text", &String::from("other"))).await,
        "tex"
    );
    let _: &ManagerCore = send(store.lifetime_of_self()).await.unwrap();
    assert_eq!(
        send(store.anonymous_lifetime(Cow::Borrowed("text")))
            .await
            .unwrap(),
        "TEXT"
    );
    assert_eq!(send(store.impl_argument("text")).await.unwrap(), "text");
    assert_eq!(send(store.impl_cow("text")).await, "text");
    assert_eq!(
        send(store.impl_closure(|one| one > 1)).await.unwrap(),
        [2, 3]
    );
    assert_eq!(send(store.impl_return(2)).await.unwrap().sum::<u64>(), 12);
    assert_eq!(send(store.impl_return_timed(2)).await.sum::<u64>(), 6);
}

#[tokio::test]
async fn spawned() {
    let store = store().await;
    let text = tokio::spawn(async move {
        let shout = store
            .anonymous_lifetime(Cow::Borrowed("a"))
            .await?
            .into_owned();
        let kept = store.impl_closure(|one| one == 2).await?;
        Ok::<_, Error>((shout, kept, store.impl_cow(String::from("b")).await))
    });
    assert_eq!(
        text.await.unwrap().unwrap(),
        ("A".to_owned(), vec![2], "b".to_owned())
    );
}
