//! What a connection allows and when it stops: SQLite's authorizer and progress handler, set once per connection
//! (setting them again would expire every cached statement) and steered by flags.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::hooks::{Action, AuthAction, AuthContext, Authorization};

use crate::error::{Error, Result};

/// Virtual machine instructions between two looks at the flags; about 10 µs.
const PROGRESS_EVERY: i32 = 1_000;
const NO_FUSE: u64 = u64::MAX;

/// Who is speaking to SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Permission {
    /// The library itself, and the body of a [`Connection`](crate::Connection) handle.
    Everything,
    /// A body inside a transaction.
    InTransaction,
    /// A body inside the transaction of others, who go on with the same connection.
    InSharedTransaction,
}

#[derive(Debug)]
pub(crate) struct Guard {
    permission: AtomicU8,
    refused: AtomicU8,
    changes_schema: AtomicBool,
    single_use: AtomicBool,
    has_temp: AtomicBool,
    may_shadow: AtomicBool,
    cancelled: AtomicBool,
    fuse: AtomicU64,
    fused: AtomicBool,
    base: Instant,
}

impl Guard {
    /// Sets the hooks of a new connection.
    pub(crate) fn install(db: &Connection) -> Result<Arc<Self>> {
        let guard = Arc::new(Self {
            permission: AtomicU8::new(Permission::Everything as u8),
            refused: AtomicU8::new(0),
            changes_schema: AtomicBool::new(true),
            single_use: AtomicBool::new(false),
            has_temp: AtomicBool::new(false),
            may_shadow: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            fuse: AtomicU64::new(NO_FUSE),
            fused: AtomicBool::new(false),
            base: Instant::now(),
        });
        let for_authorizer = Arc::clone(&guard);
        db.authorizer(Some(move |context: AuthContext<'_>| {
            for_authorizer.authorize(&context)
        }))?;
        guard.set_hooks(db)?;
        Ok(guard)
    }

    /// The hooks that may be set again at no cost, and none beside them.
    pub(crate) fn set_hooks(self: &Arc<Self>, db: &Connection) -> Result<()> {
        db.update_hook(None::<fn(Action, &str, &str, i64)>)?;
        db.rollback_hook(None::<fn()>)?;
        let for_commit = Arc::clone(self);
        db.commit_hook(Some(move || for_commit.is_in_body()))?;
        let for_progress = Arc::clone(self);
        db.progress_handler(PROGRESS_EVERY, Some(move || for_progress.must_stop()))?;
        Ok(())
    }

    /// Whether the authorizer still does its work after a closure had the connection.
    pub(crate) fn still_authorizes(&self, db: &Connection) -> bool {
        self.permit(Permission::InTransaction);
        let refused = db.prepare("SAVEPOINT probe").is_err();
        self.permit(Permission::Everything);
        self.refused.store(0, Ordering::Relaxed);
        refused
    }

    pub(crate) fn permit(&self, permission: Permission) {
        self.permission.store(permission as u8, Ordering::Relaxed);
    }

    /// Stops the statement that is running, or the next one, at its next look at the flags.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn clear_cancel(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Stops the next statement when it is still running at this time.
    pub(crate) fn set_fuse(&self, at: Instant) {
        self.fused.store(false, Ordering::Relaxed);
        let at = at.duration_since(self.base).as_nanos();
        self.fuse
            .store(u64::try_from(at).unwrap_or(NO_FUSE), Ordering::Relaxed);
    }

    /// Removes the fuse and tells whether it had blown.
    pub(crate) fn take_fuse(&self) -> bool {
        self.fuse.store(NO_FUSE, Ordering::Relaxed);
        self.fused.swap(false, Ordering::Relaxed)
    }

    /// Whether a body may have changed tables or triggers since the last time this was asked; at first, anybody may.
    pub(crate) fn take_changes_schema(&self) -> bool {
        self.changes_schema.swap(false, Ordering::Relaxed)
    }

    /// The connection may hold what must not outlive the call: TEMP objects, or whatever a closure has set in it.
    pub(crate) fn set_single_use(&self) {
        self.single_use.store(true, Ordering::Relaxed);
    }

    /// Whether the connection serves one call only.
    pub(crate) fn is_single_use(&self) -> bool {
        self.single_use.load(Ordering::Relaxed)
    }

    /// Whether a body may have made TEMP objects.
    pub(crate) fn has_temp(&self) -> bool {
        self.has_temp.load(Ordering::Relaxed)
    }

    /// Whether a TEMP object and a real one may have got the same name since the last time this was asked.
    pub(crate) fn take_may_shadow(&self) -> bool {
        self.may_shadow.load(Ordering::Relaxed) && self.may_shadow.swap(false, Ordering::Relaxed)
    }

    /// Whether the authorizer refused a TEMP object because the transaction is shared.
    pub(crate) fn take_refused_temp(&self) -> bool {
        let temp = Refusal::Temp as u8;
        let order = Ordering::Relaxed;
        self.refused.compare_exchange(temp, 0, order, order).is_ok()
    }

    /// The library's own words for a statement that the authorizer refused.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.refused.swap(0, Ordering::Relaxed) {
            0 => error,
            code => Refusal::from_code(code).error(),
        }
    }

    /// A commit while a body runs is never the library's: SQLite has ended the transaction and the body goes on
    /// without one. Such a commit is turned into a rollback.
    fn is_in_body(&self) -> bool {
        self.permission.load(Ordering::Relaxed) != Permission::Everything as u8
    }

    fn must_stop(&self) -> bool {
        if self.is_cancelled() {
            return true;
        }
        let fuse = self.fuse.load(Ordering::Relaxed);
        if fuse == NO_FUSE || self.base.elapsed().as_nanos() < u128::from(fuse) {
            return false;
        }
        self.fused.store(true, Ordering::Relaxed);
        true
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        let permission = self.permission.load(Ordering::Relaxed);
        if permission == Permission::Everything as u8 {
            return Authorization::Allow;
        }
        let refusal = match context.action {
            _ if makes_temp(context) => {
                if permission == Permission::InTransaction as u8 {
                    for flag in [&self.single_use, &self.has_temp, &self.may_shadow] {
                        flag.store(true, Ordering::Relaxed);
                    }
                    return Authorization::Allow;
                }
                Refusal::Temp
            }
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                Refusal::TransactionControl
            }
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Refusal::Attach,
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => {
                if is_harmless(pragma_name, pragma_value) {
                    return Authorization::Allow;
                }
                Refusal::Pragma
            }
            AuthAction::CreateTable { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::AlterTable { .. } => {
                self.changes_schema.store(true, Ordering::Relaxed);
                self.may_shadow.store(self.has_temp(), Ordering::Relaxed);
                return Authorization::Allow;
            }
            _ => return Authorization::Allow,
        };
        self.refused.store(refusal as u8, Ordering::Relaxed);
        Authorization::Deny
    }
}

#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Refusal {
    TransactionControl = 1,
    Attach,
    Pragma,
    Temp,
}

impl Refusal {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::TransactionControl,
            2 => Self::Attach,
            3 => Self::Pragma,
            _ => Self::Temp,
        }
    }

    fn error(self) -> Error {
        let (what, why) = match self {
            Self::TransactionControl => (
                "transaction control",
                "the call itself commits on Ok and rolls back on Err",
            ),
            Self::Attach => (
                "ATTACH or DETACH",
                "it needs a method with `db: &mut Connection`",
            ),
            Self::Pragma => (
                "this PRAGMA",
                "its effect would outlive the transaction; use a method with `db: &mut Connection`",
            ),
            Self::Temp => ("a TEMP object", "others go on with the same connection"),
        };
        Error::Refused { what, why }
    }
}

/// Whether it makes or changes an object of the database `temp`, which a connection keeps until it is closed. Each has a row
/// in a schema table there. The actions that are named `CreateTemp…` are not all: `CREATE TRIGGER temp.x` is none of them.
fn makes_temp(context: &AuthContext<'_>) -> bool {
    let is_temp = || {
        let database = context.database_name;
        database.is_some_and(|name| name.eq_ignore_ascii_case("temp"))
    };
    match context.action {
        AuthAction::Insert { table_name } | AuthAction::Update { table_name, .. } => {
            table_name.starts_with("sqlite_") && is_temp()
        }
        AuthAction::Pragma {
            pragma_name,
            pragma_value: Some(_),
        } => {
            let in_header = ["user_version", "application_id"];
            let is = |known: &str| known.eq_ignore_ascii_case(pragma_name);
            in_header.into_iter().any(is) && is_temp()
        }
        _ => false,
    }
}

/// Only what reads, or what a rollback takes back.
fn is_harmless(name: &str, value: Option<&str>) -> bool {
    const WITH_ARGUMENT: &[&str] = &[
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "user_version",
        "application_id",
    ];
    const WITHOUT_VALUE: &[&str] = &[
        "application_id",
        "auto_vacuum",
        "busy_timeout",
        "cache_size",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "defer_foreign_keys",
        "encoding",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "journal_mode",
        "journal_size_limit",
        "max_page_count",
        "mmap_size",
        "module_list",
        "page_count",
        "page_size",
        "pragma_list",
        "query_only",
        "recursive_triggers",
        "schema_version",
        "secure_delete",
        "synchronous",
        "temp_store",
        "user_version",
        "wal_autocheckpoint",
    ];
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let on = |value: &str| {
        ["on", "true", "yes", "1"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(value))
    };
    match value {
        _ if WITH_ARGUMENT.iter().any(is) => true,
        None => WITHOUT_VALUE.iter().any(is),
        // OFF would forget violations.
        Some(value) => name.eq_ignore_ascii_case("defer_foreign_keys") && on(value),
    }
}
