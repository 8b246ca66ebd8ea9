//! `&self` in each of its spellings.

use super::{Store, send, store};
use dbm_core::prelude::*;
use std::sync::Arc;

impl Store {
    #[database_safe]
    async fn by_reference<'a>(&'a self, _db: &mut ReadTransaction) -> Result<&'a Self> {
        Ok(self)
    }

    #[database_safe]
    #[allow(clippy::needless_arbitrary_self_type)]
    async fn spelled_out(self: &Self, _db: &mut ReadTransaction) -> Result<usize> {
        Ok(std::ptr::from_ref(self).addr())
    }

    #[database_safe]
    async fn by_arc(self: &Arc<Self>, db: &mut ReadTransaction) -> Result<u64> {
        let this = Arc::clone(self);
        let one = db.query_one("SELECT 1", ()).await?;
        drop(this);
        Ok(one)
    }

    #[database_safe]
    #[fail_value(Arc::strong_count(self))]
    async fn by_arc_with_a_fail_value(
        self: &std::sync::Arc<Self>,
        _db: &mut ReadTransaction,
    ) -> Result<usize> {
        Err(Error::other("always"))
    }
}

#[tokio::test]
async fn every_receiver() {
    let store = store().await;
    let address = std::ptr::from_ref::<Store>(&store).addr();
    assert_eq!(
        std::ptr::from_ref(send(store.by_reference()).await.unwrap()).addr(),
        address
    );
    assert_eq!(send(store.spelled_out()).await.unwrap(), address);
    assert_eq!(send(store.by_arc()).await.unwrap(), 1);
    assert_eq!(send(store.by_arc_with_a_fail_value()).await, 1);
}

#[tokio::test]
async fn spawned_from_an_arc() {
    let store = store().await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.by_arc().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 1);
    }
}
