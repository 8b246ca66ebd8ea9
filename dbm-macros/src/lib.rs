//! The derive and the attributes of dbm. Depend on `dbm-core`, which re-exports them.
//!
//! One way through: `method` parses the method but not its body, `attributes` reads what stands on it, `check`
//! applies every rule (`types` judges what is written, `wording` has the sentences), `expand` turns what was
//! understood into tokens. Whatever is wrong, the method is emitted beside the error, so that no second error follows.
//!
//! The derive reads its `keys`, and the files of a `schema`. With the feature `checked` both hand over to the module of that
//! name, which asks SQLite.

mod attribute_name;
mod attributes;
mod check;
#[cfg(feature = "checked")]
mod checked;
mod derive;
mod errors;
mod expand;
mod keys;
mod method;
mod schema;
mod types;
mod version;
mod wording;

use attribute_name::AttributeName;
use proc_macro::TokenStream;

/// What the feature `checked` adds to a method, and to a manager that asks for it.
#[cfg(feature = "checked")]
const CHECK: (expand::CheckStatements, Option<derive::CheckFiles>) =
    (checked::statements, Some(checked::files));
#[cfg(not(feature = "checked"))]
const CHECK: (expand::CheckStatements, Option<derive::CheckFiles>) =
    (|_| proc_macro2::TokenStream::new(), None);

fn attribute(name: AttributeName, arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(name, arguments.into(), &item.into(), CHECK.0).into()
}

/// Makes a method a call of its manager: lease, transaction, body, commit or rollback.
///
/// The method is written with a handle `db` right after `&self` (or `self: &Arc<Self>`) and called without it:
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// # }
/// impl Store {
///     #[database_safe(timeout = "5s")]
///     async fn double(&self, db: &mut ReadTransaction, number: u64) -> Result<u64> {
///         db.query_one("SELECT 2 * ?1", (number,)).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let store = Store::create(Config::in_memory()).await?;
/// assert_eq!(store.double(21).await?, 42);
/// # Ok(()) }
/// ```
///
/// | `db:` | what the body may do |
/// |---|---|
/// | `&mut ReadTransaction` | read one consistent snapshot |
/// | `&mut WriteTransaction` | read and write; `Ok` commits, anything else rolls back |
/// | `&mut Connection` | use the writer's connection outside any transaction |
///
/// The declared type is a `Result<T, E>` with any `E: From<dbm_core::Error>`, and the caller gets it as it is; a panic
/// goes on unwinding after the rollback. [`macro@fail_value`] and [`macro@fail_with_exception`] change that.
///
/// `timeout` bounds the body: its statement is interrupted and the transaction rolled back. Durations are written
/// `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// The other attributes stand on the same method in any order, under their own names: a renamed import
/// (`use dbm_core::fail_value as otherwise`) is not recognised.
#[proc_macro_attribute]
pub fn database_safe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::DatabaseSafe, arguments, item)
}

/// At least one of the named parameters, each an `Option`, must be `Some`.
///
/// It is checked before anything waits. A call without any of them fails with `Error::MissingArgument`, which lists the
/// names. It works with [`macro@database_safe`] and alone, on any async method that returns a `Result<T, E>` with
/// `E: From<dbm_core::Error>`.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// # }
/// impl Store {
///     #[database_safe]
///     #[required_argument(id, name)]
///     async fn find(&self, db: &mut ReadTransaction, id: Option<u64>, name: Option<&str>) -> Result<String> {
///         db.query_one("SELECT coalesce(?1, ?2)", (id, name)).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// assert!(matches!(store.find(None, None).await, Err(Error::MissingArgument { .. })));
/// assert_eq!(store.find(None, Some("Ada")).await?, "Ada");
/// # Ok(()) }
/// ```
#[proc_macro_attribute]
pub fn required_argument(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::RequiredArgument, arguments, item)
}

/// On failure the caller gets this value, never an error.
///
/// The method is declared `-> Result<T, E>`, and the caller sees `T`. The expression is a `T`, evaluated afresh for each
/// failure; it may read `self` and the arguments that the body does not move, but not `db`, and it cannot use `?` or
/// `.await`. The cause, an `E: Display`, is logged at ERROR with the method's name.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// # }
/// impl Store {
///     #[database_safe]
///     #[fail_value(Vec::new())]
///     async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
///         db.query("SELECT name FROM a_table_that_is_not_there", ()).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// let names: Vec<String> = store.names().await;
/// # assert!(names.is_empty());
/// # Ok(()) }
/// ```
///
/// With [`macro@fail_with_exception`] the value is a tuple that ends in a place for the cause.
#[proc_macro_attribute]
pub fn fail_value(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::FailValue, arguments, item)
}

/// A panic of the body, too, comes back as an error: `Err(E::from(Error::Panicked { .. }))`.
///
/// With [`macro@fail_value`] the caller gets a tuple of up to 12 elements, and the cause, whatever it was, in the last
/// of them, an `Option<E>`:
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// # }
/// impl Store {
///     #[database_safe]
///     #[fail_value((Vec::new(), None))]
///     #[fail_with_exception]
///     async fn names(&self, db: &mut ReadTransaction) -> Result<(Vec<String>, Option<Error>)> {
///         Ok((db.query("SELECT name FROM a_table_that_is_not_there", ()).await?, None))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// let (names, cause) = store.names().await;
/// assert!(names.is_empty() && cause.is_some());
/// # Ok(()) }
/// ```
#[proc_macro_attribute]
pub fn fail_with_exception(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::FailWithException, arguments, item)
}

/// Traces how long the method took; `#[timed(slow = "100ms")]` warns when it took longer.
///
/// With [`macro@database_safe`] the wait for the lock and the run are told apart. It works alone on any async function.
///
/// ```
/// # use dbm_core::prelude::*;
/// #[timed(slow = "1s")]
/// async fn fetch(url: &str) -> String {
///     format!("what is at {url}")
/// }
/// ```
#[proc_macro_attribute]
pub fn timed(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::Timed, arguments, item)
}

/// The method may be called from inside `init_db` and `migrate_db`, and joins their transaction.
///
/// Without it such a call is an error at once. From anywhere else the method is like any other. `init_db` and
/// `migrate_db` themselves have a transaction and take no attribute, other than [`macro@timed`].
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// impl Schema for Store {
///     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
///         db.execute_batch("CREATE TABLE user (name TEXT NOT NULL) STRICT").await?;
///         self.add("root").await
///     }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// }
///
/// impl Store {
///     #[database_safe]
///     #[during_init]
///     async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
///         db.execute("INSERT INTO user VALUES (?1)", (name,)).await?;
///         Ok(())
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # Store::create(Config::in_memory()).await?.add("Ada").await
/// # }
/// ```
#[proc_macro_attribute]
pub fn during_init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::DuringInit, arguments, item)
}

/// Makes a struct that holds a `ManagerCore` a database manager.
///
/// - `#[db_manager(version = "1.2.0")]` on the struct is the schema version this program needs: three numbers.
/// - `schema` says that the schema is files in this package, `schema/1.0.0.sql` and so on, each with what leads from the
///   version before to its own; `schema = "cache"` has them in `schema/cache/`. The derive then writes
///   `impl Schema`: a new database walks all of them, an older one those above its version. `version` is the newest.
/// - `after("1.1.0" = Store::seed)` goes on in Rust behind a file, in the same transaction. The step is an
///   `async fn(&self, db: &mut WriteTransaction) -> Result<()>`.
/// - `checked`, with the feature of that name, has the SQL of its methods checked against the files when it compiles.
///   `checked(strict)` says that the program registers no function, collation or module, so an unknown one is wrong.
/// - The core is the field of type `ManagerCore`, or the one marked `#[db_manager(core)]`.
/// - The other fields are free. If all of them are `Default`, the manager can be made with `start` and `create`, else
///   with `start_with` and `create_with`.
///
/// ```
/// use dbm_core::prelude::*;
/// use std::net::IpAddr;
///
/// #[derive(DbManager)]
/// #[db_manager(version = "1.2.0")]
/// struct Store {
///     core: ManagerCore,
///     address: IpAddr,
/// }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// #     async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> { Ok(true) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let address = IpAddr::from([127, 0, 0, 1]);
/// let store = Store::create_with(Config::in_memory(), |core| Store { core, address }).await?;
/// # assert_eq!(store.address, address);
/// # Ok(()) }
/// ```
#[proc_macro_derive(DbManager, attributes(db_manager))]
pub fn db_manager(item: TokenStream) -> TokenStream {
    derive::db_manager(item.into(), CHECK.1).into()
}

/// A text that was checked against the files of the package, for constants and helper functions.
///
/// `sql!("…")` is a `&'static str`; the schema is the one after the newest file. `sql!(at "1.2.0", "…")` is for a step in
/// Rust that follows `schema/1.2.0.sql`: newer tables are not there yet. If the package has several folders, the text has
/// to fit one of them.
#[cfg(feature = "checked")]
#[proc_macro]
pub fn sql(input: TokenStream) -> TokenStream {
    checked::sql(input.into()).into()
}
