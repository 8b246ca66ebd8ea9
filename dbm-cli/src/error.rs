//! What a command fails with, in words for somebody who does not see the program's source.

use std::fmt;
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) enum Error {
    Path { path: PathBuf, why: &'static str },
    LaterJobs { path: PathBuf },
    Database(dbm_core::Error),
}

impl Error {
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({ "error": self.to_string() }).to_string()
    }
}

impl From<dbm_core::Error> for Error {
    fn from(error: dbm_core::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use dbm_core::Error as Database;
        match self {
            Self::Path { path, why } => write!(f, "{}: {why}", path.display()),
            Self::LaterJobs { path } => write!(
                f,
                "{}: a later release of dbm has made its tables of jobs; use the dbm of that release",
                path.display()
            ),
            Self::Database(Database::NoDatabase { path }) => {
                write!(f, "{}: there is no database", path.display())
            }
            Self::Database(Database::ForeignDatabase { path }) => write!(
                f,
                "{}: not a database of dbm: it has tables, but no table Version",
                path.display()
            ),
            Self::Database(Database::TooNew {
                path,
                stored,
                required,
            }) => write!(
                f,
                "{}: has version {stored}, and --at-most is {required}",
                path.display()
            ),
            Self::Database(error) => write!(f, "{error}"),
        }
    }
}
