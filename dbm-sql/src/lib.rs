//! What dbm-core and its macros both know about SQL, so that what compiles is what runs: what a body must not use,
//! where a statement of a script ends, and how a file rebuilds a table. Depend on `dbm-core` instead of this crate.

mod pragma;
mod rebuild;
mod script;
mod split;

pub use rebuild::{Fault, Rebuild};
pub use script::{Part, parts};
pub use split::statements;

/// What a body must not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// `BEGIN`, `COMMIT`, `SAVEPOINT`, ….
    TransactionControl = 1,
    /// `ATTACH` and `DETACH`.
    Attach,
    /// A PRAGMA that does more than read, or whose effect a rollback does not undo.
    Pragma,
    /// A statement that writes, on a handle that reads.
    Write,
    /// A TEMP object, in a transaction that others share.
    Temp,
    /// A table or view named `Version`.
    VersionName,
}

impl Refusal {
    /// Every variant.
    pub const ALL: [Self; 6] = [
        Self::TransactionControl,
        Self::Attach,
        Self::Pragma,
        Self::Write,
        Self::Temp,
        Self::VersionName,
    ];

    /// Whether a body, or a migration, must not use this PRAGMA.
    #[must_use]
    pub fn of_pragma(name: &str, value: Option<&str>, migrating: bool) -> Option<Self> {
        let passes =
            pragma::is_harmless(name, value) || (migrating && pragma::is_for_migrations(name));
        (!passes).then_some(Self::Pragma)
    }

    /// Whether a body must not create a table or a view of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        name.eq_ignore_ascii_case("Version")
            .then_some(Self::VersionName)
    }

    /// What is refused.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::TransactionControl => "transaction control",
            Self::Attach => "ATTACH or DETACH",
            Self::Pragma => "this PRAGMA",
            Self::Write => "a write",
            Self::Temp => "a TEMP object",
            Self::VersionName => "a table or view named Version",
        }
    }

    /// Why it is refused, and what to do instead.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::TransactionControl => "the call itself commits on Ok and rolls back on Err",
            Self::Attach => {
                "it needs a method with `db: &mut Connection`; init_db and migrate_db have no such thing"
            }
            Self::Pragma => {
                "its effect would outlive the transaction; leave it out in init_db and migrate_db, and elsewhere use a method with `db: &mut Connection`"
            }
            Self::Write => "this method has `db: &mut ReadTransaction`",
            Self::Temp => "others go on with the same connection",
            Self::VersionName => {
                "the library has a table of this name for the schema version, and SQLite ignores case; choose another name"
            }
        }
    }
}
