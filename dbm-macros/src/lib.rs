//! The derive and the attributes of dbm. Depend on `dbm-core`, which re-exports them.
//!
//! One way through: `method` parses the method but not its body, `attributes` reads what stands on it, `check`
//! applies every rule (`types` judges what is written, `wording` has the sentences), `expand` turns what was
//! understood into tokens. Whatever is wrong, the method is emitted beside the error, so that no second error follows.

mod attributes;
mod check;
mod derive;
mod expand;
mod method;
mod types;
mod wording;

use attributes::Kind;
use proc_macro::TokenStream;

/// Makes a method a call of its manager: lease, transaction, body, commit or rollback.
///
/// The method is written as `async fn(&self, db: &mut WriteTransaction, args…) -> Result<T, E>` and called without
/// `db`. `&mut ReadTransaction` reads a snapshot, `&mut WriteTransaction` writes, `&mut Connection` has the writer's
/// connection outside any transaction. `E` is any error that is `From<dbm_core::Error>`.
///
/// `#[database_safe(timeout = "5s")]` bounds the body: its statement is interrupted and the transaction rolled back.
/// Durations are written `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// It goes with `#[fail_value]`, `#[fail_with_exception]`, `#[required_argument]`, `#[timed]` and `#[during_init]`, in
/// any order, under their own names (a renamed import is not recognised).
#[proc_macro_attribute]
pub fn database_safe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::DatabaseSafe, arguments.into(), &item.into()).into()
}

/// At least one of the named parameters, each an `Option`, must be `Some`: `#[required_argument(id, name)]`.
///
/// It is checked before anything waits; the call fails with `Error::MissingArgument`, which lists the names. It works
/// with `#[database_safe]` and alone, on any async method whose error is `From<dbm_core::Error>`.
#[proc_macro_attribute]
pub fn required_argument(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::RequiredArgument, arguments.into(), &item.into()).into()
}

/// On failure the caller gets this value instead of an error: `#[fail_value(Vec::new())]`.
///
/// The method is declared `-> Result<T, E>` and returns `T`. The expression is evaluated afresh for each failure; it may
/// read `self` and the arguments that the body does not move. The cause is logged at ERROR.
///
/// With `#[fail_with_exception]`, `T` is a tuple that ends in `Option<E>`, and the cause is put there.
#[proc_macro_attribute]
pub fn fail_value(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::FailValue, arguments.into(), &item.into()).into()
}

/// A panic of the body, too, comes back as an error: `Err(E::from(Error::Panicked { .. }))`.
///
/// With `#[fail_value]`, the cause is put into the last place of the value, a tuple that ends in `Option<E>`.
#[proc_macro_attribute]
pub fn fail_with_exception(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::FailWithException, arguments.into(), &item.into()).into()
}

/// Traces how long the method took; `#[timed(slow = "100ms")]` warns when it took longer.
///
/// It works with `#[database_safe]`, where waiting and running are told apart, and alone on any async method.
#[proc_macro_attribute]
pub fn timed(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::Timed, arguments.into(), &item.into()).into()
}

/// The method may be called from `init_db` and `migrate_db`, and joins their transaction.
#[proc_macro_attribute]
pub fn during_init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(Kind::DuringInit, arguments.into(), &item.into()).into()
}

/// Makes a struct that holds a `ManagerCore` a database manager.
///
/// `#[db_manager(version = "1.2.0")]` on the struct is the schema version this program needs: three numbers.
/// The core is the field of type `ManagerCore`, or the one marked `#[db_manager(core)]`. If every other field is
/// `Default`, the manager can be made with `start` and `create`; otherwise with `start_with` and `create_with`.
#[proc_macro_derive(DbManager, attributes(db_manager))]
pub fn db_manager(item: TokenStream) -> TokenStream {
    derive::db_manager(item.into()).into()
}
