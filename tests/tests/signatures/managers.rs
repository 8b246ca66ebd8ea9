//! Every shape of struct that can be a manager.

use dbm_core::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

mod of_another_crate {
    pub(super) type Core = dbm_core::ManagerCore;
}

trait Tag: Send + Sync + 'static {
    const NAME: &'static str;
}

struct Blue;

impl Tag for Blue {
    const NAME: &'static str = "blue";
}

#[derive(DbManager)]
#[db_manager(version = "0.0.0")]
struct Tuple(ManagerCore, Vec<u8>);

#[derive(DbManager)]
#[db_manager(version = "1.2.3")]
struct Marked {
    name: String,
    #[db_manager(core)]
    inner: of_another_crate::Core,
}

#[derive(DbManager)]
#[db_manager(version = "9223372036854775807.0.10")]
struct Generic<T: Tag, const N: usize>
where
    T: Sized,
{
    core: dbm_core::ManagerCore,
    tag: std::marker::PhantomData<T>,
    limits: [u8; 4],
}

/// Its bounds stand on the impls alone.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Unbounded<T> {
    core: ManagerCore,
    value: T,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Addressed {
    core: ManagerCore,
    address: IpAddr,
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct OwnNames {
    core: ManagerCore,
}

dbm_tests::schema!(Tuple);
dbm_tests::schema!(Marked);
dbm_tests::schema!(Addressed);
dbm_tests::schema!(OwnNames);

impl<T: Tag, const N: usize> Schema for Generic<T, N> {
    async fn init_db(&self, _db: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }

    async fn migrate_db(
        &self,
        _db: &mut WriteTransaction,
        _current: &Version,
        _target: &Version,
    ) -> Result<bool> {
        Ok(true)
    }
}

impl<T: Tag, const N: usize> Generic<T, N> {
    #[database_safe]
    async fn name(&self, db: &mut ReadTransaction) -> Result<String> {
        db.query_one("SELECT ?1 || ?2", (T::NAME, N)).await
    }
}

impl<T: Send + Sync + 'static> Schema for Unbounded<T> {
    async fn init_db(&self, _db: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

impl<T: ToValue + Send + Sync + 'static> Unbounded<T> {
    #[database_safe]
    async fn value(&self, db: &mut ReadTransaction) -> Result<String> {
        db.query_one("SELECT CAST(?1 AS TEXT)", (&self.value,))
            .await
    }
}

impl OwnNames {
    async fn create() -> Arc<Self> {
        <Self as DbManager>::create(Config::in_memory())
            .await
            .unwrap()
    }

    #[database_safe]
    async fn close(&self, db: &mut ReadTransaction, one: u64) -> Result<u64> {
        db.query_one("SELECT ?1", (one,)).await
    }
}

#[tokio::test]
async fn tuple_structs() {
    let manager = Tuple::create(Config::in_memory()).await.unwrap();
    assert!(manager.1.is_empty());
    assert_eq!(Tuple::VERSION, Version::new(0, 0, 0));
}

#[tokio::test]
async fn a_marked_core_under_any_name() {
    let manager = Marked::create(Config::in_memory()).await.unwrap();
    assert_eq!(manager.name, "");
    let _: &ManagerCore = &manager.inner;
}

#[tokio::test]
async fn generic_structs() {
    let manager = Generic::<Blue, 3>::create(Config::in_memory())
        .await
        .unwrap();
    assert_eq!(manager.name().await.unwrap(), "blue3");
    assert_eq!(manager.limits, [0; 4]);
    assert_eq!(
        Generic::<Blue, 3>::VERSION,
        Version::new(i64::MAX as u64, 0, 10)
    );
}

#[tokio::test]
async fn generic_structs_without_bounds() {
    let manager = Unbounded::<u8>::create(Config::in_memory()).await.unwrap();
    assert_eq!(manager.value().await.unwrap(), "0");
}

#[tokio::test]
async fn fields_without_a_default_are_given() {
    let address = IpAddr::from([127, 0, 0, 1]);
    let make = |core| Addressed { core, address };
    let manager = Addressed::create_with(Config::in_memory(), make)
        .await
        .unwrap();
    assert_eq!(manager.address, address);
    let manager = Addressed::start_with(Config::in_memory(), make);
    manager.ensure_ready().await.unwrap();
}

#[tokio::test]
async fn a_users_own_methods_win() {
    assert_eq!(OwnNames::create().await.close(1).await.unwrap(), 1);
}
