//! The derive and the attributes of dbm. Depend on `dbm-core`, which re-exports them.
//!
//! A method goes through four files. `method` parses it, except its body. `attributes` reads the attributes on it.
//! `check` applies every rule; `types` tells it what a type looks like, `wording` has the messages. `expand` generates
//! the code; `blame` says where the compiler's lifetime errors about it stand. If something is wrong, the method is emitted beside the error, so that one mistake is one error.
//!
//! The derive reads its `keys`, and the files of a `schema`. With the feature `checked` both hand over to the module of that
//! name, which asks SQLite.

mod attribute_name;
mod attributes;
mod blame;
mod check;
#[cfg(feature = "checked")]
mod checked;
mod derive;
mod errors;
mod expand;
mod job;
mod keys;
mod method;
mod one_statement;
mod schema;
mod to_value;
mod types;
mod version;
mod wording;

use attribute_name::AttributeName;
use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as TokenStream2};
use quote::quote;

/// Whether dbm-core runs jobs.
const JOBS: bool = cfg!(feature = "jobs");

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

/// Makes a method a database call: it waits for a connection, begins a transaction, runs the body, and commits or rolls
/// back.
///
/// The method is written with a handle `db` right after `&self` (or `self: &Arc<Self>`), and called without it:
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
/// The method returns a `Result<T, E>` with any `E: From<dbm_core::Error>`, and the caller gets it unchanged. After a
/// panic the transaction is rolled back, and the panic goes on to the caller. [`macro@fail_value`] and
/// [`macro@fail_with_exception`] change that.
///
/// `timeout` limits how long the body may take. When it is over, the running statement is interrupted and the
/// transaction is rolled back. Durations are written `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// The other attributes go on the same method, in any order and under their own names. A renamed import
/// (`use dbm_core::fail_value as otherwise`) is not recognised.
#[proc_macro_attribute]
pub fn database_safe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::DatabaseSafe, arguments, item)
}

/// At least one of the named parameters, each an `Option`, must be `Some`.
///
/// A call without any of them fails with `Error::MissingArgument`, which lists the names. It fails at once, before it
/// waits for anything. The attribute works with [`macro@database_safe`], and alone on any async method that returns a
/// `Result<T, E>` with `E: From<dbm_core::Error>`.
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
/// The method is declared `-> Result<T, E>`, and the caller sees `T`. The expression is a `T`, evaluated anew for each
/// failure. It may read `self` and the arguments that the body does not move. It may not use `db`, `?` or `.await`. The
/// cause, an `E: Display`, is logged at ERROR with the method's name.
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
/// With [`macro@fail_with_exception`] the value is a tuple, and its last element receives the cause.
#[proc_macro_attribute]
pub fn fail_value(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::FailValue, arguments, item)
}

/// A panic in the body comes back as an error, too: `Err(E::from(Error::Panicked { .. }))`.
///
/// With [`macro@fail_value`] the caller gets a tuple of up to 12 elements. The last one is an `Option<E>`. On failure
/// it holds the cause, whether that was an error or a panic:
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

/// Traces how long the method took. `#[timed(slow = "100ms")]` warns if it took longer than that.
///
/// With [`macro@database_safe`] the wait for the lock is reported apart from the run. The attribute works alone on any
/// async function.
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

/// Lets `init_db` and `migrate_db` call the method, which then joins their transaction.
///
/// Without this attribute such a call fails at once. Called from anywhere else, the method is like any other. `init_db`
/// and `migrate_db` themselves have a transaction already: of the attributes they take only [`macro@timed`].
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

/// Makes a method a durable job: it is enqueued in a transaction, and runs after that is committed.
///
/// Beside the method `notify` stands a function `notify_job`, which takes the same arguments and makes a job of them.
/// [`WriteTransaction::enqueue`](../dbm_core/struct.WriteTransaction.html#method.enqueue) takes it. The manager lists its
/// jobs: `#[db_manager(.., jobs(notify))]`.
///
/// ```
/// # use dbm_core::prelude::*;
/// #[derive(DbManager)]
/// #[db_manager(version = "1.0.0", jobs(greet, tidy))]
/// struct Store {
///     core: ManagerCore,
/// }
/// # impl Schema for Store {
/// #     async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
/// #         db.execute_batch("CREATE TABLE user (name TEXT NOT NULL, seen INTEGER NOT NULL) STRICT").await
/// #     }
/// # }
///
/// impl Store {
///     #[database_safe]
///     async fn add_user(&self, db: &mut WriteTransaction, name: String) -> Result<()> {
///         db.execute("INSERT INTO user VALUES (?1, 0)", (&name,)).await?;
///         db.enqueue(Store::greet_job(name)).await?; // in the same transaction
///         Ok(())
///     }
///
///     /// Is tried until it succeeds, up to 8 times: at least once.
///     #[job(attempts = 8, backoff = "5s", timeout = "30s")]
///     async fn greet(&self, name: String) -> Result<()> {
///         println!("welcome, {name}");
///         Ok(())
///     }
///
///     /// What it writes and the end of the job are one transaction: exactly once.
///     #[job(every = "24h")]
///     #[database_safe]
///     async fn tidy(&self, db: &mut WriteTransaction) -> Result<()> {
///         db.execute("DELETE FROM user WHERE seen < 0", ()).await?;
///         Ok(())
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// # store.add_user("Ada".into()).await?;
/// # store.close().await }
/// ```
///
/// | key | default | |
/// |---|---|---|
/// | `attempts` | 8 | how often it is tried; after that it is a [dead job](../dbm_core/struct.DeadJob.html) |
/// | `backoff` | `"5s"` | the wait after the first failure. It doubles each time, up to an hour, and varies by a quarter |
/// | `timeout` | `"30s"` | a run that takes longer is ended, and has failed |
/// | `unique` | | while one with the same arguments waits or runs, it is not enqueued again; `unique(a, b)` compares only these |
/// | `every` | | a schedule, which nobody enqueues: it runs at the first start, and then with this period. Missed runs happen once |
///
/// The arguments are owned values with serde's `Serialize` and `Deserialize`. They are stored as JSON under the name of the
/// method. The method returns a `Result<(), E>` with any error.
///
/// With [`macro@database_safe`] and a `WriteTransaction` a job takes effect exactly once: it ends in the transaction of the
/// method. In any other method it runs at least once. If the process ends while it runs, it runs again.
///
/// `Error::Busy`, `BatchLost`, `Overloaded` and `Closed` do not count as an attempt.
#[cfg(feature = "jobs")]
#[proc_macro_attribute]
pub fn job(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(AttributeName::Job, arguments, item)
}

/// Turns a struct that holds a `ManagerCore` into a database manager.
///
/// - `#[db_manager(version = "1.2.0")]` on the struct is the schema version that this program needs: three numbers.
/// - `schema` says that the schema is files in this package, `schema/1.0.0.sql` and so on, each with what leads from the
///   version before to its own; `schema = "cache"` has them in `schema/cache/`. The derive then writes
///   `impl Schema`: a new database walks all of them, an older one those above its version. `version` is the newest.
/// - `after("1.1.0" = Store::seed)` goes on in Rust behind a file, in the same transaction. The step is an
///   `async fn(&self, db: &mut WriteTransaction) -> Result<()>`.
/// - `checked`, with the feature of that name, has the SQL of its methods checked against the files when it compiles.
///   `checked(strict)` says that the program registers no function, collation or module, so an unknown one is wrong.
/// - `jobs(notify, tidy)`, with the feature of that name, lists the methods with `#[job]`.
/// - The core is the field of type `ManagerCore`, or the one marked `#[db_manager(core)]`.
/// - The other fields are yours. If all of them are `Default`, `start` and `create` make the manager. Otherwise it is
///   made with `start_with` and `create_with`.
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
pub fn derive_db_manager(item: TokenStream) -> TokenStream {
    derive::db_manager(item.into(), CHECK.1).into()
}

/// The keys of [`derive@DbManager`]. It is an attribute of its own only where the derive is missing, and says so.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn db_manager(keys: TokenStream, item: TokenStream) -> TokenStream {
    let (keys, item) = (TokenStream2::from(keys), TokenStream2::from(item));
    let error = syn::Error::new(Span::call_site(), wording::NO_DERIVE).to_compile_error();
    // After the error it is a manager all the same.
    quote!(#error #[derive(::dbm_core::DbManager)] #[db_manager(#keys)] #item).into()
}

/// Makes a newtype or an enum a parameter of statements: what serde makes of it is what is stored, and what a row of the
/// type reads.
///
/// The type needs serde's `Serialize`, too, whose attributes count. `dbm_core::Serde` has the table of what is stored. A
/// type that is not one value, such as a variant with data, is an error when it is bound.
///
/// ```
/// use dbm_core::prelude::*;
///
/// #[derive(serde::Serialize, serde::Deserialize, ToValue)]
/// struct UserId(u64);
///
/// #[derive(serde::Serialize, serde::Deserialize, ToValue)]
/// #[serde(rename_all = "lowercase")]
/// enum Item {
///     Sword,
/// }
///
/// assert!((UserId(7), Item::Sword, None::<Item>).into_params().is_ok());
/// ```
#[proc_macro_derive(ToValue)]
pub fn to_value(item: TokenStream) -> TokenStream {
    to_value::to_value(item.into()).into()
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
