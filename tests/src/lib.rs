//! What several tests share.

mod child;
mod cut;
mod dice;
#[cfg(unix)]
pub mod disk;
pub mod ledger;
mod leftovers;
mod log;
mod outside;
pub mod points;
pub mod post;
#[cfg(unix)]
pub mod shim;
mod store;
#[cfg(unix)]
pub mod story;
mod time_limit;

pub use child::Child;
pub use cut::{Moment, Stalled, cut, poll_once};
pub use dice::{Dice, seeds};
pub use ledger::Ledger;
pub use leftovers::{eventually, name_thread, open_files, threads_named};
pub use log::logged;
pub use outside::{ReadOnly, bytes, names, skip, waits};
pub use store::{Hook, Hooks, Store};
pub use time_limit::{LIMIT, run, run_on_one_thread, watch, within};

/// A manager without tables, for tests that look at code and not at rows.
#[macro_export]
macro_rules! manager {
    ($visibility:vis $name:ident) => {
        #[derive(::dbm_core::DbManager)]
        #[db_manager(version = "1.0.0")]
        $visibility struct $name {
            core: ::dbm_core::ManagerCore,
        }

        $crate::schema!($name);
    };
}

/// A schema without tables, or one of two scripts: what makes it, and what leads to it.
#[macro_export]
macro_rules! schema {
    ($name:ident, $init:expr, $migrate:expr) => {
        impl ::dbm_core::Schema for $name {
            async fn init_db(
                &self,
                db: &mut ::dbm_core::WriteTransaction,
            ) -> ::dbm_core::Result<()> {
                db.execute_batch($init).await
            }

            async fn migrate_db(
                &self,
                db: &mut ::dbm_core::WriteTransaction,
                _current: &::dbm_core::Version,
                _target: &::dbm_core::Version,
            ) -> ::dbm_core::Result<bool> {
                db.execute_batch($migrate).await?;
                Ok(true)
            }
        }
    };
    ($name:ident) => {
        impl ::dbm_core::Schema for $name {
            async fn init_db(
                &self,
                _db: &mut ::dbm_core::WriteTransaction,
            ) -> ::dbm_core::Result<()> {
                Ok(())
            }

            async fn migrate_db(
                &self,
                _db: &mut ::dbm_core::WriteTransaction,
                _current: &::dbm_core::Version,
                _target: &::dbm_core::Version,
            ) -> ::dbm_core::Result<bool> {
                Ok(true)
            }
        }
    };
}

/// Compiles the code of this guide here, where axum and anyhow are.
#[cfg(doctest)]
#[doc = include_str!("../../docs/faq.md")]
mod faq {}

/// Compiles the code of the guide whose crates dbm does without.
#[cfg(doctest)]
#[doc = include_str!("../../docs/types.md")]
mod types {}
