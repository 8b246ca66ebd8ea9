#[cfg(feature = "remote")]
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::on_open::OpenHook;
use crate::temporary::TemporaryDirectory;
use crate::version::{self, Version};
#[cfg(feature = "remote")]
use remote::SharedBackend;

/// More connections would only use up file descriptors.
const MAX_READERS: usize = 1_000;

/// Where the database lives and how it behaves.
///
/// Making one touches nothing and cannot fail. An unusable setting fails the start with [`Error::Config`].
///
/// ```
/// # use dbm_core::{Config, Durability};
/// # use std::time::Duration;
/// let config = Config::new("data")
///     .db_name("bot.db")
///     .durability(Durability::Full)
///     .acquire_timeout(Duration::from_secs(10));
/// # let _ = config;
/// ```
///
/// | setting | default |
/// |---|---|
/// | [`db_name`](Self::db_name) | `database.db` |
/// | [`durability`](Self::durability) | [`Durability::Full`] |
/// | [`execution`](Self::execution) | [`Execution::Auto`] |
/// | [`readers`](Self::readers) | 4 |
/// | [`acquire_timeout`](Self::acquire_timeout) | 30 s |
/// | [`busy_timeout`](Self::busy_timeout) | 5 s |
/// | [`max_queue`](Self::max_queue) | none |
/// | [`max_read_age`](Self::max_read_age) | none |
/// | [`max_write_idle`](Self::max_write_idle) | none |
/// | [`keep_backups`](Self::keep_backups) | 1 |
/// | [`private_files`](Self::private_files) | false |
/// | [`schema_drift`](Self::schema_drift) | [`SchemaDrift::Warn`]; [`SchemaDrift::Ignore`] after `start_with`, `create_with` |
/// | [`version`](Self::version) | the manager's own |
/// | [`adopt`](Self::adopt) | none |
/// | [`read_only`](Self::read_only) | false |
/// | [`hardened`](Self::hardened) | true |
/// | [`on_open`](Self::on_open), [`on_create`](Self::on_create) | none |
/// | [`histograms`](Self::histograms) | false |
///
/// What cannot be set: write-ahead logging and foreign keys are on.
#[derive(Debug, Clone)]
#[must_use]
pub struct Config {
    location: Location,
    db_name: String,
    pub(crate) durability: Durability,
    pub(crate) execution: Execution,
    pub(crate) readers: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_queue: Option<usize>,
    pub(crate) max_read_age: Option<Duration>,
    pub(crate) max_write_idle: Option<Duration>,
    pub(crate) keep_backups: usize,
    #[cfg(feature = "jobs")]
    pub(crate) job_workers: usize,
    pub(crate) private_files: bool,
    pub(crate) schema_drift: Option<SchemaDrift>,
    pub(crate) version: Option<Version>,
    pub(crate) adopt: Option<Version>,
    pub(crate) read_only: bool,
    pub(crate) hardened: bool,
    pub(crate) on_open: Option<OpenHook>,
    pub(crate) on_create: Option<OpenHook>,
    pub(crate) histograms: bool,
}

#[derive(Debug, Clone)]
enum Location {
    Directory(PathBuf),
    Temporary,
    #[cfg(feature = "remote")]
    Server(SharedBackend),
}

/// What an acknowledged write survives. Acknowledged means that its call has returned `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Survives a power loss (`synchronous = FULL`).
    #[default]
    Full,
    /// Survives a crash of the process. A power loss may take the newest commits, but does not damage the file
    /// (`synchronous = NORMAL`).
    Normal,
    /// Survives a crash of the process. A power loss may damage the file (`synchronous = OFF`). For tests.
    Off,
}

/// Where statements run: on the worker that polls the call, or on a thread of the library. Results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Execution {
    /// Statements known to be short run where the task is, all others on a thread. The library learns this about a text
    /// from its runs and, before the first run of a read, from its query plan.
    #[default]
    Auto,
    /// Every statement runs where the task is: for a runtime that has nothing else to do. A long one blocks everything
    /// else on its worker.
    Inline,
    /// Every statement and COMMIT runs on a thread. No worker is ever blocked, and each statement costs two hops.
    Offload,
}

/// What to do with a database of the right version whose schema is not the one that [`init_db`](crate::Schema::init_db)
/// makes. Most likely `init_db` was edited and the version was not raised.
///
/// To find out, `init_db` runs once more, in a private database in memory that is thrown away, and on a second manager,
/// made for this from the defaults of its fields. After [`start_with`](crate::DbManager::start_with) and
/// [`create_with`](crate::DbManager::create_with) there can be no second manager. Then `init_db` runs on the manager
/// itself, and should do nothing but write to its `db`.
///
/// Tables and views that `init_db` does not make are not drift, and neither is another order of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaDrift {
    /// Start-up, or the migration before it is committed, fails with [`Error::SchemaDrift`].
    Error,
    /// A warning is logged; the check comes half a second after the start, so that it delays no call. A manager that is closed
    /// earlier is checked by [`close`](crate::DbManager::close), if it is the first of its type in the process, within two
    /// seconds. That takes about a millisecond, and 0.2 ms for each table.
    Warn,
    /// Nothing is checked.
    Ignore,
}

impl Config {
    /// A database in this directory, which is made (with its parents) when it is missing. The file is
    /// `database.db` unless [`db_name`](Self::db_name) says otherwise.
    ///
    /// A relative directory is resolved against the working directory at the time of the start.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            location: Location::Directory(directory.into()),
            db_name: "database.db".to_owned(),
            durability: Durability::default(),
            execution: Execution::default(),
            readers: 4,
            acquire_timeout: Duration::from_secs(30),
            busy_timeout: Duration::from_secs(5),
            max_queue: None,
            max_read_age: None,
            max_write_idle: None,
            keep_backups: 1,
            #[cfg(feature = "jobs")]
            job_workers: 8,
            private_files: false,
            schema_drift: None,
            version: None,
            adopt: None,
            read_only: false,
            hardened: true,
            on_open: None,
            on_create: None,
            histograms: false,
        }
    }

    /// A private database that is removed with its manager: for tests. No `close` is needed.
    ///
    /// It is a file in a private temporary directory, so it behaves like any other database: SQLite's in-memory databases
    /// have no WAL, and a reader would block the writer. Durability is [`Durability::Off`]. Each start has a database of
    /// its own, even from a clone of one `Config`.
    pub fn in_memory() -> Self {
        let mut config = Self::new("").durability(Durability::Off);
        config.location = Location::Temporary;
        config
    }

    /// Name of the database file: one plain name, without a directory. Default `database.db`.
    ///
    /// Refused are separators, NUL, `.` and `..`, names with a meaning in SQLite (`:memory:`, `file:…`), the endings of
    /// its side files (`-wal`, `-shm`, `-journal`), and more than 200 bytes. On Windows also what does not name a file
    /// there: a drive or a stream (`C:x`, `a:b`), a device (`CON`, `nul.db`), a dot or a space at the end, and forbidden
    /// characters.
    pub fn db_name(mut self, name: impl Into<String>) -> Self {
        self.db_name = name.into();
        self
    }

    /// What an acknowledged write survives. Default [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Where statements run. Default [`Execution::Auto`].
    pub fn execution(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self
    }

    /// How many reads may run at the same time, from 1 to 1,000. Default 4. Connections are opened when first needed.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// How long a call waits for its turn before it gives up with
    /// [`Error::AcquireTimeout`](crate::Error::AcquireTimeout). Default 30 s. Writes check this about every 20 ms.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a call waits for another process that has locked the file. Default 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        // SQLite counts milliseconds in 31 bits.
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// How many calls may wait for the writer; further ones get [`Error::Overloaded`](crate::Error::Overloaded).
    /// Default: no limit. Reads do not count.
    pub fn max_queue(mut self, calls: usize) -> Self {
        self.max_queue = Some(calls);
        self
    }

    /// How long a read may keep its snapshot once the write-ahead log has grown large. Older reads are ended with
    /// [`Error::TransactionLost`](crate::Error::TransactionLost) so that the log can shrink. Default: no limit, but a
    /// warning is logged.
    pub fn max_read_age(mut self, age: Duration) -> Self {
        self.max_read_age = Some(age);
        self
    }

    /// How long a call may keep the writer without running a statement while other calls wait. After that it is evicted,
    /// rolled back, and fails with [`Error::TransactionLost`](crate::Error::TransactionLost). Checked about every
    /// 20 ms. Default: no limit, because a body may wait for an answer from the network.
    ///
    /// This is for calls that are no longer polled: one in a branch of a `select!` loop that another branch keeps from
    /// running, or one that was polled once and then put aside.
    pub fn max_write_idle(mut self, idle: Duration) -> Self {
        self.max_write_idle = Some(idle);
        self
    }

    /// How many jobs this manager runs at the same time. Default 8. With 0 it only enqueues: another process runs them, or a
    /// test does.
    #[cfg(feature = "jobs")]
    pub fn job_workers(mut self, workers: usize) -> Self {
        self.job_workers = workers;
        self
    }

    /// How many backups made before migrations are kept, 0 to make none. Default 1.
    ///
    /// A backup is `<db_name>.<old version>.backup` beside the file, followed by a number if that exists. Only files with
    /// such a name are ever removed.
    pub fn keep_backups(mut self, backups: usize) -> Self {
        self.keep_backups = backups;
        self
    }

    /// Whether only its user can read and write a new database (mode 0600), whatever the umask says. Default: false. Its
    /// log and its backups always have its mode. The mode of an existing file is left as it is. Without effect where
    /// files have no such mode.
    pub fn private_files(mut self, private: bool) -> Self {
        self.private_files = private;
        self
    }

    /// What to do when the schema is not the one that `init_db` makes. Default: [`SchemaDrift::Warn`], and
    /// [`SchemaDrift::Ignore`] for a manager that was given its fields (`start_with`, `create_with`).
    ///
    /// ```
    /// # use dbm_core::{Config, SchemaDrift};
    /// let strict = Config::new("data").schema_drift(if cfg!(debug_assertions) {
    ///     SchemaDrift::Error
    /// } else {
    ///     SchemaDrift::Warn
    /// });
    /// # let _ = strict;
    /// ```
    pub fn schema_drift(mut self, drift: SchemaDrift) -> Self {
        self.schema_drift = Some(drift);
        self
    }

    /// The schema version to open with, instead of the one in `#[db_manager(version = "…")]`: for tests of
    /// migrations.
    ///
    /// ```
    /// # use dbm_core::{Config, Version};
    /// let last_release = Config::new("data").version(Version::new(1, 0, 0));
    /// # let _ = last_release;
    /// ```
    pub fn version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Takes over a database that no manager made: one with tables, but without the table `Version`. It gets this version,
    /// and is migrated from there if the program needs a newer one.
    ///
    /// A backup is made first ([`keep_backups`](Self::keep_backups)). The table `Version` and the migration are one
    /// transaction, so a failed start leaves the tables as they were. Nothing else in the file is changed, except that it
    /// is in WAL mode from then on.
    ///
    /// The setting may stay in the program: a new file is created as always, and a file that has a version keeps it. If
    /// several processes start at the same time, one adopts. A version that is newer than the program's is refused with
    /// [`Error::TooNew`], and a file with a table, a view or an index named `version` with [`Error::VersionNameTaken`].
    ///
    /// ```
    /// # use dbm_core::{Config, Version};
    /// // The tables that the other program made are those of 1.0.0.
    /// let config = Config::new("data").db_name("app.db").adopt(Version::new(1, 0, 0));
    /// # let _ = config;
    /// ```
    pub fn adopt(mut self, version: Version) -> Self {
        self.adopt = Some(version);
        self
    }

    /// Opens a database that exists, for reading only. Default: false.
    ///
    /// Nothing in the file is changed: it is neither created nor migrated, no checkpoint runs, and no backup is made.
    /// Calls that write fail with [`Error::ReadOnly`]. Another process may write meanwhile, and each read sees what was
    /// committed before it.
    ///
    /// A start fails with [`Error::NoDatabase`] if the file is missing or empty, with [`Error::TooOld`] or
    /// [`Error::TooNew`] if it has another version, and with [`Error::NotReadable`] if SQLite would have to write before
    /// it can read. Together with [`adopt`](Self::adopt) or [`in_memory`](Self::in_memory) it is an [`Error::Config`].
    ///
    /// To read a file in WAL mode, SQLite needs the files that end in `-wal` and `-shm`. It creates them if they are
    /// missing, also for a reader, and they may stay after [`close`](crate::DbManager::close).
    ///
    /// ```
    /// # use dbm_core::Config;
    /// let report = Config::new("/var/lib/shop").db_name("shop.db").read_only();
    /// # let _ = report;
    /// ```
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Whether SQLite treats the file with caution, as its documentation [advises](https://sqlite.org/security.html) for
    /// a file that another program may have written. Default: true.
    ///
    /// - The schema is not trusted: a view, trigger, CHECK, default, generated column or index may call a function of the
    ///   program only if that was made with `FunctionFlags::SQLITE_INNOCUOUS`.
    /// - `PRAGMA writable_schema` has no effect, and the tables behind a virtual one cannot be written.
    /// - The writer checks pages as it reads them, so that damage does not spread.
    /// - The text of SQL is limited to 16 MiB, and a statement to 25 million instructions of SQLite's virtual machine.
    ///
    /// With false, SQLite's own defaults apply, once start-up has found that the file belongs to the program; with an
    /// [`on_open`](Self::on_open) from the beginning.
    pub fn hardened(mut self, hardened: bool) -> Self {
        self.hardened = hardened;
        self
    }

    /// Measures how long calls and commits take, for [`DbManager::metrics`](crate::DbManager::metrics). Default: false.
    ///
    /// It costs a call three readings of the clock and an allocation, and the first call of each method 700 bytes of memory.
    ///
    /// ```
    /// # use dbm_core::Config;
    /// let config = Config::new("data").histograms();
    /// # let _ = config;
    /// ```
    pub fn histograms(mut self) -> Self {
        self.histograms = true;
        self
    }

    /// Sets up every connection before it is used: functions, collations, virtual tables, a key, and PRAGMAs of the
    /// connection such as `cache_size`, `mmap_size`, `temp_store`, `recursive_triggers` and `secure_delete`.
    ///
    /// ```
    /// # use dbm_core::Config;
    /// let config = Config::new("data").on_open(|connection| {
    ///     connection.execute_batch("PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY")?;
    ///     Ok(())
    /// });
    /// # let _ = config;
    /// ```
    ///
    /// The closure runs for the writer, the readers, checkpoints, backups, the check for
    /// [`SchemaDrift`](crate::SchemaDrift), and again whenever one of them is opened anew, in any order and at the same
    /// time. So a connection is always in this state when a call gets it: a call that changes it in a closure of
    /// [`call`](crate::ReadTransaction::call) has its connection replaced. Another `on_open` replaces this one.
    ///
    /// It runs on a thread of the library. The call that needs the connection waits; it is not bounded by
    /// [`acquire_timeout`](Self::acquire_timeout). With an `on_open` no file is opened where the task is, also not by
    /// [`create`](crate::DbManager::create).
    ///
    /// It sets up the connection, and nothing else:
    ///
    /// | in the closure | |
    /// |---|---|
    /// | BEGIN and SAVEPOINT, ATTACH, a write, a TEMP object, `auto_vacuum`, a PRAGMA that writes to the file | [`Error::OnOpen`](crate::Error::OnOpen) |
    /// | an authorizer, a statement that is left unfinished | [`Error::OnOpen`](crate::Error::OnOpen) |
    /// | commit, rollback, update, WAL and progress hooks, a busy handler | removed |
    /// | `journal_mode`, `locking_mode`, `synchronous`, `foreign_keys`, `query_only`, `busy_timeout`, `wal_autocheckpoint`, `trusted_schema`, `cell_size_check` | no effect, and no row: the library sets them |
    /// | a call of the same manager | fails at once; it must not wait for one on another thread either |
    ///
    /// It may read the file, which at a start has not been looked at yet. If the file is locked meanwhile, the closure
    /// runs again with another connection, until [`busy_timeout`](Self::busy_timeout).
    ///
    /// If it returns an error or panics, the start or the call fails with [`Error::OnOpen`](crate::Error::OnOpen). The
    /// next call that needs a connection tries again.
    ///
    /// A function that the schema uses (in a CHECK, an index, a generated column, a view or a trigger) needs
    /// `FunctionFlags::SQLITE_INNOCUOUS`, unless [`hardened`](Self::hardened) is false. Without the function, or without
    /// the flag, SQLite takes a schema with such a table for malformed.
    #[expect(
        clippy::disallowed_types,
        reason = "the program sets up its connections"
    )]
    pub fn on_open(
        mut self,
        set_up: impl Fn(&rusqlite::Connection) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_open = Some(OpenHook(Arc::new(set_up)));
        self
    }

    /// Decides what a new file is like, before its first page is written: `page_size`, `auto_vacuum` and `encoding`.
    /// An existing file keeps what it has. So does one that another process creates at the same moment.
    ///
    /// ```
    /// # use dbm_core::Config;
    /// let config = Config::new("data").on_create(|connection| {
    ///     connection.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL")?;
    ///     Ok(())
    /// });
    /// # let _ = config;
    /// ```
    ///
    /// The closure runs after [`on_open`](Self::on_open), on the same connection and with the same rules.
    /// `auto_vacuum` is allowed. It writes the first page, so the other two come before it. Tables are for
    /// [`init_db`](crate::Schema::init_db).
    #[expect(
        clippy::disallowed_types,
        reason = "the program sets up its connections"
    )]
    pub fn on_create(
        mut self,
        set_up: impl Fn(&rusqlite::Connection) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_create = Some(OpenHook(Arc::new(set_up)));
        self
    }

    pub(crate) fn name(&self) -> &str {
        match &self.location {
            #[cfg(feature = "remote")]
            Location::Server(backend) => backend.name(),
            Location::Directory(_) | Location::Temporary => &self.db_name,
        }
    }

    /// The kind of database, as OpenTelemetry spells it.
    pub(crate) fn system(&self) -> &'static str {
        match &self.location {
            #[cfg(feature = "remote")]
            Location::Server(backend) => backend.system(),
            Location::Directory(_) | Location::Temporary => "sqlite",
        }
    }

    pub(crate) fn is_on_server(&self) -> bool {
        match &self.location {
            #[cfg(feature = "remote")]
            Location::Server(_) => true,
            Location::Directory(_) | Location::Temporary => false,
        }
    }

    /// The path of the file according to the settings, valid or not.
    pub(crate) fn path_as_given(&self) -> PathBuf {
        match &self.location {
            Location::Directory(directory) => directory.join(&self.db_name),
            Location::Temporary => PathBuf::from(&self.db_name),
            #[cfg(feature = "remote")]
            Location::Server(backend) => PathBuf::from(backend.name()),
        }
    }

    /// The path of the file, and for a temporary one the guard that removes it at the end.
    pub(crate) fn resolve(&self) -> Result<(PathBuf, Option<TemporaryDirectory>)> {
        check_name(&self.db_name)?;
        if !(1..=MAX_READERS).contains(&self.readers) {
            return Err(invalid("readers must be from 1 to 1,000"));
        }
        if let Some(version) = &self.adopt {
            version::to_row(version)?;
        }
        if self.read_only {
            if self.adopt.is_some() {
                return Err(invalid("`read_only` changes nothing, and `adopt` writes"));
            }
            if matches!(self.location, Location::Temporary) {
                return Err(invalid(
                    "`read_only` needs a file, and `in_memory` is a new one",
                ));
            }
        }
        match &self.location {
            Location::Directory(directory) => {
                if directory.as_os_str().as_encoded_bytes().contains(&0) {
                    return Err(invalid("the directory contains a NUL byte"));
                }
                // An absolute path keeps its meaning when the program changes its working directory.
                let directory = if directory.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    directory.as_path()
                };
                let directory =
                    std::path::absolute(directory).map_err(|error| Error::io(directory, error))?;
                Ok((directory.join(&self.db_name), None))
            }
            Location::Temporary => {
                let directory = TemporaryDirectory::new()?;
                Ok((directory.path().join(&self.db_name), Some(directory)))
            }
            #[cfg(feature = "remote")]
            Location::Server(_) => {
                Err(invalid("a file is needed, and the database is on a server"))
            }
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::Config {
        message: message.into(),
    }
}

/// One plain file name that SQLite will not read as anything else.
fn check_name(name: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(invalid(format!(
            "db_name {:?} {why}",
            name.chars().take(64).collect::<String>()
        )))
    };
    if name.is_empty() || name == "." || name == ".." {
        return refuse("is not a file name");
    }
    if name.chars().any(|c| matches!(c, '/' | '\\' | '\0')) {
        return refuse("must be one plain file name, without a directory");
    }
    if name.starts_with("file:") || name.starts_with(':') {
        return refuse("has a special meaning in SQLite");
    }
    if ["-wal", "-shm", "-journal"]
        .iter()
        .any(|ending| name.ends_with(ending))
    {
        return refuse("ends like one of SQLite's side files");
    }
    if cfg!(windows) && !is_file_on_windows(name) {
        return refuse("is not the name of a file on Windows");
    }
    // The longest side file or backup must fit into a file name too (255 bytes on common file systems).
    if name.len() > 200 {
        return refuse("is longer than 200 bytes");
    }
    Ok(())
}

/// Whether Windows takes a plain name for that of a file:
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>.
fn is_file_on_windows(name: &str) -> bool {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    const NUMBERED: [&str; 2] = ["COM", "LPT"];
    let is_forbidden = |c: char| c.is_control() || r#"<>:"|?*"#.contains(c);
    // The part before the first dot decides, without the spaces at its end.
    let stem = name.split('.').next().unwrap_or_default();
    let stem = stem.trim_end_matches(' ').to_ascii_uppercase();
    let is_numbered = NUMBERED.iter().any(|device| {
        let number = stem.strip_prefix(device).unwrap_or_default();
        let mut signs = number.chars();
        matches!(
            (signs.next(), signs.next()),
            (Some('0'..='9' | '¹' | '²' | '³'), None)
        )
    });
    !name.contains(is_forbidden)
        && !name.ends_with(['.', ' '])
        && !DEVICES.contains(&stem.as_str())
        && !is_numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_takes_for_a_drive_a_stream_or_a_device_is_no_file_there() {
        for name in [
            "C:x",
            "a:b",
            "a.db:stream",
            "x::$DATA",
            "CON",
            "con",
            "Con.db",
            "nul.tar.gz",
            "PRN .txt",
            "AUX",
            "COM1",
            "com9.db",
            "LPT0",
            "COM¹",
            "lpt³.db",
            "CONIN$",
            "conout$.x",
            "a.",
            "a ",
            "a\u{1}b",
            "a?",
            "a*",
            "a<b",
            "a|b",
            "a\"b",
        ] {
            assert!(!is_file_on_windows(name), "{name:?}");
        }
        for name in [
            "database.db",
            "CONSOLE",
            "COM",
            "COM10",
            "COMA",
            "console.db",
            "a.con",
            ".hidden",
            "ünï 🦀.db",
            "NULL",
            "x-con",
            " con",
        ] {
            assert!(is_file_on_windows(name), "{name:?}");
        }
    }

    #[test]
    fn db_name_is_one_plain_file_name() {
        let long = "x".repeat(300);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/x",
            "a\\b",
            "a\0b",
            ":memory:",
            "file:x",
            "x-wal",
            "x-shm",
            "x-journal",
            &long,
        ] {
            assert!(
                Config::new("d").db_name(name).resolve().is_err(),
                "{name:?}"
            );
        }
        for name in ["database.db", "ünï 🦀.db", "x", ".hidden"] {
            assert!(Config::new("d").db_name(name).resolve().is_ok(), "{name:?}");
        }
    }
}
