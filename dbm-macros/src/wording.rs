//! Every message of `check` and `derive`. Each says what to write instead.

use crate::attribute_name::AttributeName;
use crate::version::Version;
use std::io;
use syn::Ident;

pub(crate) const DURATION: &str =
    "write a duration above zero: \"250ms\", \"5s\", \"2m\" or \"1h\"";
pub(crate) const ASYNC_TRAIT: &str =
    "remove `#[async_trait]`, which hides this body: a trait may have native `async fn`s";
pub(crate) const NO_BODY: &str =
    "there is no body here: move the attributes to the method of the impl";
pub(crate) const RECEIVER: &str = "calls share their manager: write `&self` or `self: &Arc<Self>`";
pub(crate) const NO_HANDLE: &str =
    "the body needs a handle: add `db: &mut ReadTransaction` (or `WriteTransaction`) after `&self`";
pub(crate) const HANDLE_FIRST: &str =
    "the handle comes first: move this parameter to right after `&self`";
pub(crate) const ONE_HANDLE: &str =
    "a call has one handle: remove this parameter (a `WriteTransaction` reads, too)";
pub(crate) const HANDLE_TYPE: &str =
    "this is no handle: write `&mut ReadTransaction`, `&mut WriteTransaction` or `&mut Connection`";
pub(crate) const HOOK: &str = "a hook of `Schema` has its transaction: remove this attribute";
pub(crate) const CONSTANT: &str = "a call waits for its turn: remove this `const`";
pub(crate) const NO_RESULT: &str = "a call can fail: declare `-> Result<()>`";
pub(crate) const EXCEPTION_PLACE: &str = "with both failure attributes the value is a tuple of at most 12 that ends in `Option<E>`, E being the error of the `Result`";
pub(crate) const FAIL_VALUE_FAILS: &str =
    "a fail value cannot fail itself: write an expression without `?`";
pub(crate) const FAIL_VALUE_WAITS: &str =
    "a fail value is made at once: write an expression without `.await`";

#[allow(dead_code, reason = "of the attribute `db_manager`, in lib.rs")]
pub(crate) const NO_DERIVE: &str = "these are keys of a derive: write `#[derive(DbManager)]` above";
pub(crate) const NO_STRUCT: &str =
    "a manager is a struct with a field `core: ManagerCore`: derive it on a struct";
pub(crate) const LIFETIME: &str =
    "a manager lives as long as the program: hold owned data and remove this lifetime";
pub(crate) const NO_VERSION: &str =
    "name the schema version this program needs: `#[db_manager(version = \"1.0.0\")]`";
pub(crate) const VERSION: &str = "write the version as three numbers: \"1.0.0\"";
pub(crate) const KEYS: &str = "the keys are `version`, `schema`, `checked`, `after` and `jobs`, each once: `#[db_manager(version = \"1.0.0\", schema)]`";
pub(crate) const SCHEMA_KEY: &str = "name a folder inside `schema/`: `schema = \"cache\"` is `schema/cache/`, `schema` alone is `schema/` itself";
pub(crate) const CHECKED_KEY: &str = "write `checked`, or `checked(strict)` if the program registers no function or collation of its own";
pub(crate) const AFTER_KEY: &str =
    "write the version and what follows its file: `after(\"1.2.0\" = Store::seed)`";
pub(crate) const NO_SCHEMA_KEY: &str =
    "this is for a schema that is files: write `schema`, and keep them in the folder `schema/`";
pub(crate) const NO_FEATURE: &str = "SQL is checked with the feature `checked`: write `dbm-core = { version = \"..\", features = [\"checked\"] }`";
#[allow(dead_code, reason = "of the feature `checked`")]
pub(crate) const SQL: &str = "write the SQL as a text: `sql!(\"SELECT 1\")`, or `sql!(at \"1.2.0\", \"SELECT 1\")` for a step that follows 1.2.0";
#[allow(dead_code, reason = "of the feature `checked`")]
pub(crate) const NO_FILES: &str =
    "there is no file to check this against: write the first release into `schema/1.0.0.sql`";
pub(crate) const JOBS_KEY: &str = "name the methods with `#[job]`: `jobs(notify, tidy)`";
pub(crate) const NO_JOBS_FEATURE: &str =
    "jobs need the feature `jobs`: write `dbm-core = { version = \"..\", features = [\"jobs\"] }`";
pub(crate) const ATTEMPTS: &str = "write how often it is tried, at least once: `attempts = 8`";
pub(crate) const JOB_FAIL_VALUE: &str =
    "a job that fails is tried again, so it returns its error: remove `#[fail_value]`";
pub(crate) const JOB_GENERIC: &str =
    "a job is stored under the name of its method: remove these type parameters";
pub(crate) const JOB_BORROWS: &str =
    "the arguments of a job are stored: take an owned value, such as `String`";
pub(crate) const JOB_PATTERN: &str = "the arguments of a job are stored: give this one a name";
pub(crate) const SCHEDULE_ARGUMENT: &str =
    "a schedule has no arguments to give: remove this parameter";
pub(crate) const SCHEDULE_UNIQUE: &str = "a schedule has one job only: remove this `unique`";
pub(crate) const NO_PACKAGE: &str =
    "the files of a schema are found by CARGO_MANIFEST_DIR, which Cargo sets: build with it";
pub(crate) const NO_CORE: &str = "a manager holds its core: add a field `core: ManagerCore`";
pub(crate) const CORE_TYPE: &str = "a manager holds the core itself: write `ManagerCore`";
pub(crate) const MARKED_TYPE: &str =
    "the core is the field of type `ManagerCore`: move `#[db_manager(core)]` there";
pub(crate) const TWO_CORES: &str =
    "a manager has one core: mark it with `#[db_manager(core)]` or remove this field";
pub(crate) const FIELD_MARK: &str = "the core of a manager is marked `#[db_manager(core)]`";

/// How an attribute is written.
pub(crate) fn usage(name: AttributeName) -> &'static str {
    match name {
        AttributeName::DatabaseSafe => {
            "write `#[database_safe]` or `#[database_safe(timeout = \"5s\")]`"
        }
        AttributeName::Timed => "write `#[timed]` or `#[timed(slow = \"100ms\")]`",
        AttributeName::RequiredArgument => {
            "name the parameters of which one must be given: `#[required_argument(a, b)]`"
        }
        AttributeName::FailValue => {
            "give the one expression the caller gets on failure: `#[fail_value(None)]`"
        }
        AttributeName::FailWithException => "it takes no arguments: write `#[fail_with_exception]`",
        AttributeName::DuringInit => "it takes no arguments: write `#[during_init]`",
        AttributeName::Job => {
            "the keys are `attempts`, `backoff`, `timeout`, `unique` and `every`, each once: `#[job(attempts = 8, backoff = \"5s\")]`"
        }
    }
}

pub(crate) fn duplicate(name: AttributeName) -> String {
    let name = name.as_str();
    format!("remove this second `#[{name}]`")
}

pub(crate) fn modifier_alone(name: AttributeName) -> String {
    let name = name.as_str();
    format!(
        "`#[{name}]` changes what `#[database_safe]` does: write both on the method, under their own names"
    )
}

pub(crate) fn not_a_method(name: AttributeName) -> String {
    let name = name.as_str();
    format!("`#[{name}]` stands on a method: move it to an `async fn` with a body")
}

/// The compiler has reported the same before, in its own words.
pub(crate) fn unreadable(name: AttributeName, why: &syn::Error) -> String {
    let name = name.as_str();
    format!("`#[{name}]` cannot read this method: {why}")
}

pub(crate) fn not_async(name: &Ident, output: Option<&str>) -> String {
    let returned = output.map(|output| format!(" and `-> {output}`"));
    let returned = returned.unwrap_or_default();
    format!("an annotated method is async: write `async fn {name}`{returned}")
}

pub(crate) fn no_self(name: &Ident) -> String {
    format!("a call runs on its manager: write `{name}(&self, ..)`")
}

pub(crate) fn handle_borrowed(handle: &str) -> String {
    format!("a handle is borrowed: write `&mut {handle}`")
}

pub(crate) fn named_like_the_handle(name: &Ident) -> String {
    format!("the handle is `{name}`, too: give this parameter another name")
}

pub(crate) fn not_a_result(declared: &str) -> String {
    format!("a call can fail: declare `-> Result<{declared}>`")
}

pub(crate) fn not_a_result_but_a_value(declared: &str) -> String {
    format!("declare what the body returns, `Result<{declared}>`: the caller gets the `{declared}`")
}

pub(crate) fn named_twice(name: &Ident) -> String {
    format!("`{name}` is named twice: remove this one")
}

pub(crate) fn always_given(name: &Ident, ty: &str) -> String {
    format!("`{name}` is always given: make the parameter `{name}: Option<{ty}>`")
}

pub(crate) fn no_argument(name: &Ident) -> String {
    format!("the job has no argument `{name}`: name one of its parameters")
}

pub(crate) fn listed_twice(name: &Ident) -> String {
    format!("`{name}` is listed twice: remove this one")
}

/// `optional` are the parameters that could have been meant.
pub(crate) fn unknown_parameter(name: &Ident, optional: &[&Ident]) -> String {
    if optional.is_empty() {
        return format!("the caller gives no `{name}`: add a parameter `{name}: Option<..>`");
    }
    let optional: Vec<String> = optional.iter().map(|name| format!("`{name}`")).collect();
    let optional = optional.join(", ");
    format!("the caller gives no `{name}`: name one of {optional}")
}

pub(crate) fn handle_gone(db: &Ident) -> String {
    format!("`{db}` is gone when the fail value is made: write an expression without it")
}

pub(crate) fn after_twice(version: Version) -> String {
    format!("one step follows {version}: let it call both")
}

pub(crate) fn after_nothing(folder: &str, version: Version) -> String {
    format!("there is no `{folder}/{version}.sql` that this could follow")
}

pub(crate) fn not_the_newest(folder: &str, version: Version, newest: Option<Version>) -> String {
    match newest {
        Some(newest) if newest > version => {
            format!("the newest file is `{folder}/{newest}.sql`: write \"{newest}\"")
        }
        _ => {
            format!("there is no `{folder}/{version}.sql`: write it, with what leads to {version}")
        }
    }
}

pub(crate) fn folder_unreadable(folder: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no folder `{folder}/` in this package: make it, with the first release as `{folder}/1.0.0.sql`"
        ),
        _ => format!("`{folder}/` cannot be read: {error}"),
    }
}

pub(crate) fn folder_empty(folder: &str) -> String {
    format!("`{folder}/` has no file: write the first release into `{folder}/1.0.0.sql`")
}

pub(crate) fn step_missing(folder: &str, file: &str, version: Version) -> String {
    format!(
        "`{folder}/{version}.sql` is missing: there is `{file}`, and every version has a file for each kind of database"
    )
}

pub(crate) fn file_name(file: &str) -> String {
    format!("`{file}` is not named after a version: call it like `1.2.0.sql`")
}

pub(crate) fn file_unreadable(file: &str, error: &io::Error) -> String {
    format!("`{file}` cannot be read: {error}")
}

pub(crate) fn file_not_text(file: &str) -> String {
    format!("`{file}` is not UTF-8")
}

pub(crate) fn file_with_nul(file: &str, before: &str) -> String {
    let line = before.matches('\n').count() + 1;
    format!("{file}:{line}: SQLite takes the text for ended at this NUL byte: remove it")
}
