//! However an attribute is named or reached, no import is left unused (this crate denies warnings).

mod one_by_one {
    use dbm_core::{Config, DbManager, ReadTransaction, Result};
    use dbm_core::{database_safe, during_init, fail_value, required_argument, timed};

    dbm_tests::manager!(pub(super) Store);

    impl Store {
        #[database_safe]
        #[fail_value(None)]
        #[required_argument(id)]
        #[timed]
        #[during_init]
        pub(super) async fn inner_attributes(
            &self,
            db: &mut ReadTransaction,
            id: Option<u64>,
        ) -> Result<Option<u64>> {
            db.query_optional("SELECT ?1", (id,)).await
        }
    }

    pub(super) async fn store() -> std::sync::Arc<Store> {
        Store::create(Config::in_memory()).await.unwrap()
    }
}

mod by_path {
    use dbm_core as db;

    dbm_tests::manager!(pub(super) Store);

    impl Store {
        #[db::fail_value(0)]
        #[dbm_core::timed]
        #[::dbm_core::database_safe]
        pub(super) async fn by_path(&self, db: &mut db::ReadTransaction) -> db::Result<u64> {
            db.query_one("SELECT 1", ()).await
        }
    }

    pub(super) async fn store() -> std::sync::Arc<Store> {
        use db::DbManager as _;
        Store::create(db::Config::in_memory()).await.unwrap()
    }
}

mod conditional {
    use dbm_core::prelude::*;

    dbm_tests::manager!(pub(super) Store);

    impl Store {
        #[cfg_attr(not(any()), database_safe)]
        #[cfg_attr(not(any()), fail_value(7), timed)]
        #[cfg_attr(any(), required_argument(nothing))]
        pub(super) async fn conditional(&self, _db: &mut ReadTransaction) -> Result<u64> {
            Err(Error::other("always"))
        }

        #[timed]
        #[cfg_attr(not(any()), database_safe)]
        pub(super) async fn conditional_inside(&self, db: &mut ReadTransaction) -> Result<u64> {
            db.query_one("SELECT 1", ()).await
        }
    }

    pub(super) async fn store() -> std::sync::Arc<Store> {
        Store::create(Config::in_memory()).await.unwrap()
    }
}

mod in_a_function {
    pub(super) async fn call() -> u64 {
        use dbm_core::{Config, DbManager, ReadTransaction, Result, database_safe, fail_value};

        dbm_tests::manager!(Local);

        impl Local {
            #[fail_value(0)]
            #[database_safe]
            async fn one(&self, db: &mut ReadTransaction) -> Result<u64> {
                db.query_one("SELECT 1", ()).await
            }
        }

        Local::create(Config::in_memory())
            .await
            .unwrap()
            .one()
            .await
    }
}

mod generated {
    use dbm_core::prelude::*;

    dbm_tests::manager!(pub(super) Store);

    macro_rules! getter {
        ($name:ident, $argument:ident: $ty:ty, $returned:ty, $sql:expr, $otherwise:expr) => {
            impl Store {
                #[database_safe]
                #[required_argument($argument)]
                #[fail_value($otherwise)]
                pub(super) async fn $name(
                    &self,
                    db: &mut ReadTransaction,
                    $argument: $ty,
                ) -> Result<$returned> {
                    db.query_one($sql, ($argument,)).await
                }
            }
        };
    }

    getter!(text, text: Option<&str>, String, "SELECT ?1", String::new());

    macro_rules! method {
        ($(#[$attribute:meta])* $name:ident, $db:ident: $handle:ty, $returned:ty, $body:block) => {
            impl Store {
                $(#[$attribute])*
                pub(super) async fn $name(&self, $db: $handle) -> $returned $body
            }
        };
    }

    method!(#[timed] #[database_safe] whole, db: &mut ReadTransaction, Result<u64>, {
        db.query_one("SELECT 1", ()).await
    });

    pub(super) async fn store() -> std::sync::Arc<Store> {
        Store::create(Config::in_memory()).await.unwrap()
    }
}

#[tokio::test]
async fn every_way_to_name_an_attribute() {
    assert_eq!(
        one_by_one::store().await.inner_attributes(Some(1)).await,
        Some(1)
    );
    assert_eq!(by_path::store().await.by_path().await, 1);
    assert_eq!(conditional::store().await.conditional().await, 7);
    assert_eq!(
        conditional::store()
            .await
            .conditional_inside()
            .await
            .unwrap(),
        1
    );
    assert_eq!(in_a_function::call().await, 1);
    assert_eq!(generated::store().await.text(Some("a")).await, "a");
    assert_eq!(generated::store().await.text(None).await, "");
    assert_eq!(generated::store().await.whole().await.unwrap(), 1);
}
