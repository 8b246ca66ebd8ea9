//! What a connection allows and when it stops: SQLite's authorizer and progress handler. They are set once per
//! connection, because setting them again would expire every cached statement. Flags control what they do.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dbm_sql::Refusal;
use rusqlite::Connection;
use rusqlite::hooks::{Action, AuthAction, AuthContext, Authorization};

use super::touched::Seen;
use crate::error::{Error, Result};
use crate::sync::lock;

/// Virtual machine instructions between two checks of the flags; about 10 µs.
const PROGRESS_EVERY: i32 = 1_000;
const NO_FUSE: u64 = u64::MAX;
/// The fuse begins to burn when SQLite first checks the flags.
const NOT_LIT: u64 = u64::MAX - 1;

/// No statement may commit by itself.
const NO_COMMIT: u64 = u64::MAX;
/// The next one may, and has not begun to.
const NOT_BEGUN: u64 = u64::MAX - 1;

/// What has become of a fuse.
#[derive(Debug)]
pub(crate) struct Burnt {
    /// It has stopped the statement.
    pub(crate) blown: bool,
    /// For how long it has burnt, if it was lit.
    pub(crate) took: Option<Duration>,
}

/// On whose behalf SQLite is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Permission {
    /// The library itself, and the body of a [`Connection`](crate::Connection) handle.
    Everything,
    /// A body inside a transaction.
    InTransaction,
    /// A body inside a shared transaction, whose other members go on with the same connection.
    InSharedTransaction,
}

#[derive(Debug)]
pub(crate) struct Guard {
    permission: AtomicU8,
    refused: AtomicU8,
    /// A PRAGMA was given the name of a table, which may be a bound value (`pragma_integrity_check(?1)`).
    takes_a_name: AtomicBool,
    changes_schema: AtomicBool,
    /// A migration's transaction: foreign keys are off, and what else it sets is reset afterwards.
    migrating: AtomicBool,
    single_use: AtomicBool,
    has_temp: AtomicBool,
    may_shadow: AtomicBool,
    cancelled: AtomicBool,
    /// Whether `seen` is kept, and whether a statement has been prepared and runs.
    tracks: AtomicBool,
    runs: AtomicBool,
    seen: Mutex<Seen>,
    /// Nanoseconds from `base` to the time when the fuse blows, or one of two other values.
    fuse: AtomicU64,
    /// Nanoseconds for which a fuse burns.
    burns_for: AtomicU64,
    fused: AtomicBool,
    /// Nanoseconds from `base` to the time when the running statement began to commit, or one of two other values.
    commit_began: AtomicU64,
    /// The start for which this connection was opened was given up.
    given_up: Arc<AtomicBool>,
    base: Instant,
}

/// How long statements may run on a file that has not been checked yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Reads the clock: for a thread that may wait.
    Time(Duration),
    /// Counts thousands of virtual machine instructions: for a thread that must not wait, and for an answer that does not
    /// depend on how busy the machine is.
    Work(u32),
    /// No limit, except that the start may be given up.
    GivenUp,
}

/// Ends a connection's statements when the start is given up or when patience runs out.
pub(super) fn bound(db: &Connection, given_up: &Arc<AtomicBool>, patience: Patience) -> Result<()> {
    let (given_up, started, mut looks) = (Arc::clone(given_up), Instant::now(), 0);
    let must_stop = move || {
        looks += 1;
        let is_over = match patience {
            Patience::Time(limit) => started.elapsed() > limit,
            Patience::Work(limit) => looks > limit,
            Patience::GivenUp => false,
        };
        is_over || given_up.load(Ordering::Relaxed)
    };
    db.progress_handler(PROGRESS_EVERY, Some(must_stop))?;
    Ok(())
}

impl Guard {
    /// Sets the hooks of a new connection.
    pub(crate) fn install(db: &Connection, given_up: &Arc<AtomicBool>) -> Result<Arc<Self>> {
        let guard = Arc::new(Self {
            permission: AtomicU8::new(Permission::Everything as u8),
            refused: AtomicU8::new(0),
            takes_a_name: AtomicBool::new(false),
            changes_schema: AtomicBool::new(true),
            migrating: AtomicBool::new(false),
            single_use: AtomicBool::new(false),
            has_temp: AtomicBool::new(false),
            may_shadow: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            tracks: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            seen: Mutex::default(),
            fuse: AtomicU64::new(NO_FUSE),
            burns_for: AtomicU64::new(0),
            fused: AtomicBool::new(false),
            commit_began: AtomicU64::new(NO_COMMIT),
            given_up: Arc::clone(given_up),
            base: Instant::now(),
        });
        let for_authorizer = Arc::clone(&guard);
        db.authorizer(Some(move |context: AuthContext<'_>| {
            for_authorizer.authorize(&context)
        }))?;
        guard.set_hooks(db)?;
        Ok(guard)
    }

    /// Sets the hooks that cost nothing to set again, and removes any others.
    pub(crate) fn set_hooks(self: &Arc<Self>, db: &Connection) -> Result<()> {
        db.update_hook(None::<fn(Action, &str, &str, i64)>)?;
        db.rollback_hook(None::<fn()>)?;
        let for_commit = Arc::clone(self);
        db.commit_hook(Some(move || for_commit.refuses_commit()))?;
        let for_progress = Arc::clone(self);
        db.progress_handler(PROGRESS_EVERY, Some(move || for_progress.must_stop()))?;
        Ok(())
    }

    /// Whether the authorizer still works after a closure had the connection.
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

    /// Stops the running statement, or the next one, at its next check of the flags.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn clear_cancel(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Stops the next statement if it runs for longer than this from the first check of the flags on. So the clock is read
    /// only for a statement that is not over by then.
    pub(crate) fn set_fuse(&self, burns_for: Duration) {
        let burns_for = u64::try_from(burns_for.as_nanos()).unwrap_or(0);
        self.burns_for.store(burns_for, Ordering::Relaxed);
        self.fuse.store(NOT_LIT, Ordering::Relaxed);
    }

    /// Removes the fuse, and reports what has become of it.
    pub(crate) fn take_fuse(&self) -> Burnt {
        let fuse = self.fuse.load(Ordering::Relaxed);
        if fuse == NO_FUSE || fuse == NOT_LIT {
            self.fuse.store(NO_FUSE, Ordering::Relaxed);
            return Burnt {
                blown: false,
                took: None,
            };
        }
        let lit = fuse.saturating_sub(self.burns_for.load(Ordering::Relaxed));
        self.fuse.store(NO_FUSE, Ordering::Relaxed);
        Burnt {
            blown: self.fused.swap(false, Ordering::Relaxed),
            took: Some(Duration::from_nanos(self.now().saturating_sub(lit))),
        }
    }

    /// Lets the next statement commit by itself.
    pub(crate) fn allow_commit(&self) {
        self.commit_began.store(NOT_BEGUN, Ordering::Relaxed);
    }

    /// From here on no statement may. For how long that one has been committing, if it has begun to.
    pub(crate) fn take_commit(&self) -> Option<Duration> {
        let began = self.commit_began.load(Ordering::Relaxed);
        self.commit_began.store(NO_COMMIT, Ordering::Relaxed);
        (began < NOT_BEGUN).then(|| Duration::from_nanos(self.now().saturating_sub(began)))
    }

    /// Nanoseconds since `base`.
    fn now(&self) -> u64 {
        let nanos = u64::try_from(self.base.elapsed().as_nanos());
        nanos.map_or(NOT_LIT - 1, |nanos| nanos.min(NOT_LIT - 1))
    }

    /// Whether a body may have changed tables or triggers since the last call of this. At first it is true.
    pub(crate) fn take_changes_schema(&self) -> bool {
        self.changes_schema.load(Ordering::Relaxed)
            && self.changes_schema.swap(false, Ordering::Relaxed)
    }

    /// Whether it is recorded which tables the body's statements touch.
    pub(super) fn set_tracks(&self, tracks: bool) {
        self.tracks.store(tracks, Ordering::Relaxed);
        let _ = self.take_seen();
    }

    pub(crate) fn set_runs(&self, runs: bool) {
        self.runs.store(runs, Ordering::Relaxed);
    }

    pub(super) fn take_seen(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub(crate) fn set_migrating(&self, migrating: bool) {
        self.migrating.store(migrating, Ordering::Relaxed);
    }

    /// The connection may hold something that must not outlive the call: TEMP objects, or whatever a closure has set in
    /// it.
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

    /// Whether a TEMP object and a real one may have got the same name since the last call of this.
    pub(crate) fn take_may_shadow(&self) -> bool {
        self.may_shadow.load(Ordering::Relaxed) && self.may_shadow.swap(false, Ordering::Relaxed)
    }

    /// Whether the authorizer refused a TEMP object because the transaction is shared.
    pub(crate) fn take_refused_temp(&self) -> bool {
        let temp = Refusal::Temp as u8;
        let order = Ordering::Relaxed;
        self.refused.compare_exchange(temp, 0, order, order).is_ok()
    }

    /// The library's own message for a statement that the authorizer refused.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let takes_a_name = self.takes_a_name.swap(false, Ordering::Relaxed);
        match self.refused.swap(0, Ordering::Relaxed) {
            0 if takes_a_name => error.of_run(),
            0 => error,
            code => refused(code).unwrap_or(error),
        }
    }

    /// A commit while a body runs is its statement's, if that may commit by itself. Otherwise SQLite has ended the
    /// transaction, and the body goes on without one. Such a commit is turned into a rollback.
    fn refuses_commit(&self) -> bool {
        if self.permission.load(Ordering::Relaxed) == Permission::Everything as u8 {
            return false;
        }
        let is_allowed = self.commit_began.load(Ordering::Relaxed) != NO_COMMIT;
        if is_allowed {
            self.commit_began.store(self.now(), Ordering::Relaxed);
        }
        !is_allowed
    }

    fn must_stop(&self) -> bool {
        if self.is_cancelled() || self.given_up.load(Ordering::Relaxed) {
            return true;
        }
        let fuse = self.fuse.load(Ordering::Relaxed);
        if fuse == NO_FUSE {
            return false;
        }
        let now = self.now();
        if fuse == NOT_LIT {
            let burns_for = self.burns_for.load(Ordering::Relaxed);
            self.fuse
                .store(now.saturating_add(burns_for), Ordering::Relaxed);
            return false;
        }
        if now < fuse {
            return false;
        }
        self.fused.store(true, Ordering::Relaxed);
        true
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if let AuthAction::Pragma {
            pragma_name,
            pragma_value: Some(_),
        } = context.action
            && pragma_name.to_ascii_lowercase().ends_with("_check")
        {
            self.takes_a_name.store(true, Ordering::Relaxed);
        }
        let permission = self.permission.load(Ordering::Relaxed);
        if permission == Permission::Everything as u8 {
            return Authorization::Allow;
        }
        if self.tracks.load(Ordering::Relaxed) {
            let runs = self.runs.load(Ordering::Relaxed);
            self.seen().note(context, runs);
        }
        let refusal = match context.action {
            _ if has_reserved_name(&context.action) => Refusal::VersionName,
            _ if makes_temp(context) => {
                if permission == Permission::InTransaction as u8 {
                    for flag in [&self.single_use, &self.has_temp, &self.may_shadow] {
                        flag.store(true, Ordering::Relaxed);
                    }
                    return Authorization::Allow;
                }
                Refusal::Temp
            }
            // FTS3 and FTS4 open this savepoint within a statement, for `optimize`. The library's own savepoint around it
            // covers what it does.
            AuthAction::Savepoint {
                savepoint_name: "fts3",
                ..
            } => return Authorization::Allow,
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                Refusal::TransactionControl
            }
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Refusal::Attach,
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => {
                let migrating = self.migrating.load(Ordering::Relaxed);
                match Refusal::of_pragma(pragma_name, pragma_value, migrating) {
                    Some(refusal) => refusal,
                    None => return Authorization::Allow,
                }
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

/// The library's message for what the authorizer has noted.
fn refused(code: u8) -> Option<Error> {
    let refusal = Refusal::ALL
        .into_iter()
        .find(|refusal| *refusal as u8 == code)?;
    Some(Error::refused(refusal))
}

/// Whether it creates a table or a view under the name of the library's own table. SQLite asks before it looks whether
/// there is such a table, so `IF NOT EXISTS` makes no difference.
fn has_reserved_name(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::CreateTable { table_name: name }
        | AuthAction::CreateView { view_name: name } => Refusal::of_name(name).is_some(),
        _ => false,
    }
}

/// Whether it makes or changes an object of the database `temp`, which a connection keeps until it is closed. Each such
/// object has a row in a schema table there. The actions named `CreateTemp…` do not cover all of them:
/// `CREATE TRIGGER temp.x` is reported as another one.
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
