//! Runs the program's `on_open` or `on_create` on a new connection, and keeps them from what they must not do.
//!
//! An authorizer is set meanwhile. Afterwards it is removed, together with every hook that the program has set: the
//! connection's role sets its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use rusqlite::hooks::{Action, AuthAction, AuthContext, Authorization, Wal};

use super::inside;
use crate::error::{Error, Result};
use crate::on_open::OpenHook;
use crate::panicked::panicked;
use crate::waking::contained;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A connection was opened.
    Open,
    /// The connection is the first one to a new file, which has no page yet.
    Create,
}

impl Moment {
    fn hook(self) -> &'static str {
        match self {
            Self::Open => "on_open",
            Self::Create => "on_create",
        }
    }
}

/// PRAGMAs that have no effect in a hook: the library sets what they set.
const OURS: [&str; 9] = [
    "busy_timeout",
    "cell_size_check",
    "foreign_keys",
    "journal_mode",
    "locking_mode",
    "query_only",
    "synchronous",
    "trusted_schema",
    "wal_autocheckpoint",
];
/// PRAGMAs that write to the file, even without a value.
const WRITING: [&str; 4] = [
    "cipher_migrate",
    "incremental_vacuum",
    "optimize",
    "wal_checkpoint",
];
/// PRAGMAs that write to the file what they are given.
const WRITING_VALUE: [&str; 7] = [
    "application_id",
    "default_cache_size",
    "hexrekey",
    "rekey",
    "schema_version",
    "textrekey",
    "user_version",
];
/// What only `on_create` can set.
const AUTO_VACUUM: &str = "auto_vacuum";
/// What the first page fixes.
const OF_FIRST_PAGE: [&str; 2] = ["encoding", "page_size"];

/// What is refused, and why.
type Refusal = (&'static str, &'static str);

const TRANSACTION: Refusal = (
    "transaction control",
    "the connection begins outside of a transaction",
);
const ATTACH: Refusal = (
    "ATTACH or DETACH",
    "it needs a method with `db: &mut Connection`",
);
const TEMP: Refusal = ("a TEMP object", "it belongs in the call that needs it");
const WRITE: Refusal = (
    "a write",
    "it belongs in init_db, migrate_db or a call; this runs for each connection",
);
const PRAGMA: Refusal = (
    "this PRAGMA",
    "it writes to the file; use init_db, or a method with `db: &mut Connection`",
);
const LATE_AUTO_VACUUM: Refusal = (
    "PRAGMA auto_vacuum",
    "it is decided when the file is created; use Config::on_create",
);
const LATE_PAGE_SIZE: Refusal = (
    "PRAGMA page_size or encoding after auto_vacuum",
    "auto_vacuum writes the first page; put it last",
);
const UNFINISHED: Refusal = (
    "a statement left unfinished",
    "the connection begins without a statement",
);
const AUTHORIZER: Refusal = (
    "an authorizer",
    "the library has one on each of its connections",
);

/// Runs the hook. On an error the connection must not be used.
pub(super) fn run(
    hook: &OpenHook,
    moment: Moment,
    connection: &Connection,
    manager: u64,
) -> Result<()> {
    let gatekeeper = Arc::new(Gatekeeper {
        moment,
        refused: OnceLock::new(),
        has_first_page: AtomicBool::new(false),
        was_asked: AtomicBool::new(false),
    });
    let for_authorizer = Arc::clone(&gatekeeper);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        for_authorizer.authorize(&context)
    }))?;
    let ran = {
        let _inside = inside::enter_all(manager, moment.hook());
        catch_unwind(AssertUnwindSafe(|| hook.0(connection)))
    };
    let ran = ran.unwrap_or_else(|panic| {
        let error = panicked(moment.hook(), &*panic);
        contained(|| drop(panic));
        Err(error)
    });
    let refused = gatekeeper.verdict(connection);
    remove_hooks(connection)?;
    let ran = match refused {
        Some((what, why)) => Err(Error::Refused { what, why }),
        None => ran,
    };
    ran.map_err(|error| Error::OnOpen {
        hook: moment.hook(),
        cause: error.cause(),
    })
}

fn remove_hooks(connection: &Connection) -> Result<()> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    connection.commit_hook(None::<fn() -> bool>)?;
    connection.rollback_hook(None::<fn()>)?;
    connection.update_hook(None::<fn(Action, &str, &str, i64)>)?;
    connection.wal_hook(None::<fn(&Wal, std::ffi::c_int) -> rusqlite::Result<()>>);
    Ok(())
}

/// What the authorizer notes.
struct Gatekeeper {
    moment: Moment,
    refused: OnceLock<Refusal>,
    has_first_page: AtomicBool,
    was_asked: AtomicBool,
}

impl Gatekeeper {
    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        self.was_asked.store(true, Ordering::Relaxed);
        let refusal = match context.action {
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => TRANSACTION,
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => ATTACH,
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => match self.judge_pragma(pragma_name, pragma_value.is_some()) {
                Ok(verdict) => return verdict,
                Err(refusal) => refusal,
            },
            AuthAction::Read { .. }
            | AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Function { .. } => return Authorization::Allow,
            // The rest writes.
            _ if is_temp(context) => TEMP,
            _ => WRITE,
        };
        let _ = self.refused.set(refusal);
        Authorization::Deny
    }

    fn judge_pragma(&self, name: &str, has_value: bool) -> Result<Authorization, Refusal> {
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        if WRITING.iter().any(is) || has_value && WRITING_VALUE.iter().any(is) {
            return Err(PRAGMA);
        }
        if !has_value {
            return Ok(Authorization::Allow);
        }
        if is(&AUTO_VACUUM) {
            if self.moment == Moment::Open {
                return Err(LATE_AUTO_VACUUM);
            }
            self.has_first_page.store(true, Ordering::Relaxed);
        }
        if OF_FIRST_PAGE.iter().any(is) && self.has_first_page.load(Ordering::Relaxed) {
            return Err(LATE_PAGE_SIZE);
        }
        Ok(if OURS.iter().any(is) {
            Authorization::Ignore
        } else {
            Authorization::Allow
        })
    }

    /// What the hook did that it must not do, if anything.
    fn verdict(&self, connection: &Connection) -> Option<Refusal> {
        if let Some(refused) = self.refused.get() {
            return Some(*refused);
        }
        self.was_asked.store(false, Ordering::Relaxed);
        let _ = connection.prepare("SAVEPOINT probe");
        if !self.was_asked.load(Ordering::Relaxed) {
            return Some(AUTHORIZER);
        }
        connection.is_busy().then_some(UNFINISHED)
    }
}

fn is_temp(context: &AuthContext<'_>) -> bool {
    matches!(
        context.action,
        AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempView { .. }
    ) || context
        .database_name
        .is_some_and(|name| name.eq_ignore_ascii_case("temp"))
}
