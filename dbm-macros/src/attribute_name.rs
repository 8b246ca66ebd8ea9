//! The names of the attributes. Other files match on them, so the compiler lists what a new attribute needs.

use syn::Path;

/// An attribute that stands on a method.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttributeName {
    DatabaseSafe,
    RequiredArgument,
    FailValue,
    FailWithException,
    Timed,
    DuringInit,
    Job,
}

impl AttributeName {
    const ALL: [Self; 7] = [
        Self::DatabaseSafe,
        Self::RequiredArgument,
        Self::FailValue,
        Self::FailWithException,
        Self::Timed,
        Self::DuringInit,
        Self::Job,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DatabaseSafe => "database_safe",
            Self::RequiredArgument => "required_argument",
            Self::FailValue => "fail_value",
            Self::FailWithException => "fail_with_exception",
            Self::Timed => "timed",
            Self::DuringInit => "during_init",
            Self::Job => "job",
        }
    }

    /// Only the last segment counts, so `#[dbm_core::timed]` is recognised, too.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let last = &path.segments.last()?.ident;
        let mut all = Self::ALL.into_iter();
        // Without the feature it may be somebody else's.
        all.find(|name| last == name.as_str() && (crate::JOBS || *name != Self::Job))
    }
}
