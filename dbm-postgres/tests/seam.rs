//! What dbm-core does with a backend that takes its time where this one does not.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::remote::{
    Access, Answer, Backend, Contents, Limits, Promises, Remote, RemoteRows, RemoteTransaction,
    Waiting,
};
use dbm_core::{BoundParams, Value};
use futures_util::FutureExt as _;
use tokio::time::timeout;

/// A time after which a test has hung.
const LIMIT: Duration = Duration::from_secs(60);

/// It answers each statement at once with the version 1.0.0, and never undoes a savepoint.
#[derive(Debug)]
struct Slow;

impl Backend for Slow {
    fn system(&self) -> &'static str {
        "slow"
    }

    fn name(&self) -> &str {
        "slow"
    }

    fn connect(&self, _: Limits) -> Waiting<'_, Arc<dyn Remote>> {
        Box::pin(ready(Ok(Arc::new(Self) as Arc<dyn Remote>)))
    }
}

impl Remote for Slow {
    fn version_table(&self) -> &'static str {
        ""
    }

    fn begin<'a>(&'a self, _: Access, _: &'static str) -> Waiting<'a, Box<dyn RemoteTransaction>> {
        Box::pin(ready(Ok(Box::new(Self) as Box<dyn RemoteTransaction>)))
    }

    fn mark(&self) -> Waiting<'_, String> {
        Box::pin(pending())
    }

    fn close(&self) -> Waiting<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

impl RemoteTransaction for Slow {
    fn run<'a>(&'a mut self, _: &'a str, _: &'a BoundParams) -> Waiting<'a, Answer> {
        let version = [1, 0, 0].map(Value::Integer);
        let answer = Answer::of_rows(["major", "minor", "patch"], version.into());
        Box::pin(ready(Ok(answer)))
    }

    fn script<'a>(&'a mut self, _: &'a str) -> Waiting<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn stream<'a>(
        &'a mut self,
        _: &'a str,
        _: &'a BoundParams,
    ) -> Waiting<'a, Box<dyn RemoteRows + 'a>> {
        Box::pin(pending())
    }

    fn savepoint(&mut self, _: usize) -> Waiting<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn end_savepoint(&mut self, _: usize, keep: bool) -> Waiting<'_, ()> {
        if keep {
            Box::pin(ready(Ok(())))
        } else {
            Box::pin(pending())
        }
    }

    fn look(&mut self) -> Waiting<'_, Contents> {
        Box::pin(ready(Ok(Contents::Versioned)))
    }

    fn commit(self: Box<Self>, promises: Promises) -> Waiting<'static, ()> {
        promises.keep();
        Box::pin(ready(Ok(())))
    }

    fn roll_back(self: Box<Self>) -> Waiting<'static, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl Store {
    #[database_safe]
    async fn change_and_wait(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("UPDATE", ()).await?;
        pending().await
    }

    /// A statement behind a stream that was dropped while it undid what a nested call has left.
    #[database_safe]
    async fn go_on(&self, db: &mut WriteTransaction) -> Result<()> {
        assert!(self.change_and_wait().now_or_never().is_none());
        let mut rows = db.stream::<i64>("SELECT", ());
        assert!(rows.next().now_or_never().is_none());
        drop(rows);
        db.execute("UPDATE", ()).await.map(drop)
    }
}

#[tokio::test]
async fn what_a_nested_call_has_left_is_undone_or_nothing_follows() {
    let store = Store::create(Config::remote(Slow)).await.unwrap();
    let error = timeout(LIMIT, store.go_on()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::StatementDropped), "{error}");
    store.close().await.unwrap();
}
