//! Opening connections: the only place that knows flags and PRAGMAs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::counts::EngineCounts;
use super::db::{self, Db, STATEMENT_CACHE};
use super::guard::{Guard, Patience, bound};
use super::on_open::{self, Moment};
use super::wal;
use crate::config::{Config, Durability};
use crate::error::{Error, Result};
use crate::live::LiveReads;
use crate::on_open::OpenHook;
use crate::sync::lock;
#[cfg(any(test, feature = "testing"))]
use crate::unique_id::next_id;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Writer,
}

/// How to open connections to one database file.
#[derive(Debug)]
pub(crate) struct Opener {
    /// The manager that the connections belong to.
    pub(super) manager: u64,
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) live: Arc<LiveReads>,
    pub(super) counts: EngineCounts,
    identity: OnceLock<Identity>,
    /// Shared with the guard of each connection.
    given_up: Arc<AtomicBool>,
}

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path)?;
        Ok(Self(metadata.dev(), metadata.ino()))
    }

    /// On Windows an open file cannot be removed, replaced or moved, and a manager always has its file open. The file is
    /// not checked there either: the standard library would have to open it, for each write.
    #[cfg(not(unix))]
    fn of(_: &Path) -> std::io::Result<Self> {
        Ok(Self(0, 0))
    }
}

/// Locked while a file is being created.
static CREATING: Mutex<()> = Mutex::new(());

impl Opener {
    /// For a file that belongs to no manager.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn new(path: PathBuf, config: Config) -> SharedOpener {
        Self::of_manager(next_id(), path, config, Arc::default())
    }

    pub(crate) fn of_manager(
        manager: u64,
        path: PathBuf,
        config: Config,
        live: Arc<LiveReads>,
    ) -> SharedOpener {
        Arc::new(Self {
            manager,
            path,
            counts: EngineCounts::new(config.histograms),
            config,
            live,
            identity: OnceLock::new(),
            given_up: Arc::default(),
        })
    }

    /// Fails when the path does not lead to the file that was opened first: what is written to a deleted file is
    /// lost when the last descriptor is closed.
    pub(crate) fn check_identity(&self) -> Result<()> {
        let replaced = || Error::FileReplaced {
            path: self.path.as_path().into(),
        };
        let now = Identity::of(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => replaced(),
            _ => Error::io(&self.path, error),
        })?;
        if *self.identity.get_or_init(|| now) == now {
            Ok(())
        } else {
            Err(replaced())
        }
    }

    /// A connection ready for its role, to a file that exists.
    pub(crate) fn open(&self, role: Role) -> Result<Db> {
        let access = match role {
            Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        self.check_identity()?;
        let connection = self.connect(&self.path, access)?;
        self.equip(connection, role)
    }

    /// The writer of a file that may not exist yet.
    pub(crate) fn create(&self) -> Result<Db> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = self.patiently(|| {
            let connection = {
                // Closing a file drops all locks that this process has on it (<https://sqlite.org/howtocorrupt.html>,
                // section 2.2). So no other thread may open the file in between.
                let _alone = lock(&CREATING);
                self.create_private()?;
                connect(&self.path, flags)?
            };
            let connection = self.run_on_open(connection)?;
            let is_new = || std::fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
            match &self.config.on_create {
                Some(hook) if is_new() => self.run_hook(hook, Moment::Create, connection),
                _ => Ok(connection),
            }
        })?;
        self.check_identity()?;
        self.equip(connection, Role::Writer)
    }

    /// A connection in which `on_open` has run. It blocks, so it belongs on a worker thread.
    pub(crate) fn connect(&self, path: &Path, access: OpenFlags) -> Result<Connection> {
        self.patiently(|| self.run_on_open(connect(path, access)?))
    }

    /// The same for checks and backups, which wait for locks, and should not copy damage.
    pub(crate) fn connect_read_only(
        &self,
        path: &Path,
        busy_timeout: Duration,
    ) -> Result<Connection> {
        let connection = self.connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check_cells(&connection, true)?;
        connection.busy_timeout(busy_timeout)?;
        Ok(connection)
    }

    fn run_on_open(&self, connection: Connection) -> Result<Connection> {
        match &self.config.on_open {
            Some(hook) => self.run_hook(hook, Moment::Open, connection),
            None => Ok(connection),
        }
    }

    fn run_hook(
        &self,
        hook: &OpenHook,
        moment: Moment,
        connection: Connection,
    ) -> Result<Connection> {
        connection.busy_timeout(Duration::ZERO)?;
        self.bound(&connection, Patience::GivenUp)?;
        if let Err(error) = on_open::run(hook, moment, &connection, self.manager) {
            db::close(connection);
            return Err(error);
        }
        // What it may have changed without a PRAGMA. The schema of a file that is not trusted cannot be read if it uses a
        // function of the program that is not innocuous.
        keep_log_on_close(&connection, true)?;
        harden(&connection, self.config.hardened)?;
        connection.busy_timeout(self.config.busy_timeout)?;
        Ok(connection)
    }

    /// Creates the file with access for its user only, if the settings ask for it and the file is missing. Its side files
    /// take its mode.
    fn create_private(&self) -> Result<()> {
        let failed = |error| Error::io(&self.path, error);
        if !self.config.private_files {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut options = std::fs::OpenOptions::new();
                // `create`, not `create_new`: a link may lead to a file that is missing.
                options.write(true).create(true).truncate(false);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                options.open(&self.path).map(drop).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether there is a log with nothing in it.
    pub(crate) fn has_empty_log(&self) -> bool {
        self.log().is_ok_and(|log| log.len() == 0)
    }

    /// In bytes; 0 without a log.
    pub(crate) fn log_length(&self) -> u64 {
        self.log().map_or(0, |log| log.len())
    }

    fn log(&self) -> std::io::Result<std::fs::Metadata> {
        // It is beside the file itself, which the path may lead to through a link.
        if std::fs::symlink_metadata(&self.path)?.is_symlink() {
            return std::fs::metadata(log_of(&std::fs::canonicalize(&self.path)?));
        }
        std::fs::metadata(log_of(&self.path))
    }

    /// Removes an empty log and what belongs to it, unless another process uses the file.
    pub(crate) fn remove_log(&self, patience: Duration) {
        drop(self.log_remover(patience));
    }

    /// A connection that removes an empty log and what belongs to it when it is closed, unless another one uses the file:
    /// SQLite does for one that has opened the log and may write.
    pub(super) fn log_remover(&self, patience: Duration) -> Option<Connection> {
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
        self.check_identity().ok()?;
        let connection = self
            .connect(&self.path, access)
            // If `on_open` fails, most files can do without.
            .or_else(|_| connect(&self.path, access))
            .ok()?;
        connection.busy_timeout(patience).ok()?;
        wal::open_log(&connection).ok()?;
        keep_log_on_close(&connection, false).ok()?;
        Some(connection)
    }

    /// Applies the settings that make any connection ready for its role.
    pub(crate) fn equip(&self, connection: Connection, role: Role) -> Result<Db> {
        connection.busy_timeout(Duration::ZERO)?;
        if role == Role::Writer && !connection.is_readonly("main")? {
            self.switch_to_wal(&connection)?;
        }
        self.configure(connection, role)
    }

    /// A new database that lasts as long as its one connection.
    pub(crate) fn in_memory(&self) -> Result<Db> {
        let connection = Connection::open_in_memory()?;
        harden(&connection, true)?;
        check_cells(&connection, true)?;
        self.configure(self.run_on_open(connection)?, Role::Writer)
    }

    fn configure(&self, connection: Connection, role: Role) -> Result<Db> {
        let settings = match role {
            Role::Reader => "PRAGMA query_only = ON".to_owned(),
            Role::Writer => format!(
                "PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = 0",
                match self.config.durability {
                    Durability::Full => "FULL",
                    Durability::Normal => "NORMAL",
                    Durability::Off => "OFF",
                }
            ),
        };
        self.patiently(|| Ok(connection.execute_batch(&settings)?))?;
        // Unless the program has set another one.
        if role == Role::Reader && (self.config.on_open.is_none() || has_default_cache(&connection))
        {
            self.patiently(|| Ok(connection.execute_batch(READER_CACHE)?))?;
        }
        if !self.config.hardened {
            harden(&connection, false)?;
            check_cells(&connection, false)?;
        }
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        wal::watch_wal(&connection);
        let guard = Guard::install(&connection, &self.given_up)?;
        Ok(Db::new(connection, guard, self.counts.opened()))
    }

    fn switch_to_wal(&self, connection: &Connection) -> Result<()> {
        let mode = self.patiently(|| run_to_end(connection, "PRAGMA journal_mode = WAL"))?;
        if mode == "wal" {
            return Ok(());
        }
        Err(Error::Config {
            message: format!("the file cannot use WAL, its journal mode is {mode}"),
        })
    }

    /// Retries while another process is in the way. SQLite's own waiting cannot be stopped, and it does not wait at all
    /// for a process that is switching to WAL at the same time.
    pub(crate) fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match attempt() {
                Err(error)
                    if is_busy(&error)
                        && started.elapsed() < self.config.busy_timeout
                        && !self.is_given_up() =>
                {
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    /// The start was given up: opens no more connections, and ends the statements of those that are open.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Limits the statements of a connection whose file has not been checked yet.
    pub(super) fn bound(&self, connection: &Connection, patience: Patience) -> Result<()> {
        bound(connection, &self.given_up, patience)
    }
}

/// Where SQLite puts the log of a database.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    side_of(database, "-wal")
}

/// Where SQLite puts a file that belongs to a database.
pub(crate) fn side_of(database: &Path, ending: &str) -> PathBuf {
    let mut side = database.as_os_str().to_owned();
    side.push(ending);
    side.into()
}

/// The word that a PRAGMA answers with. The statement runs to its end: after the answer its commit may still fail.
pub(crate) fn run_to_end(connection: &Connection, pragma: &str) -> Result<String> {
    let mut statement = connection.prepare(pragma)?;
    let words = statement.query_map((), |row| row.get(0))?;
    let words: Vec<String> = words.collect::<Result<_, _>>()?;
    Ok(words.concat())
}

/// A connection without the program's `on_open`. A plain path is never read as a URI. NOFOLLOW is not set, so that a database may be a symlink.
pub(crate) fn connect(path: &Path, access: OpenFlags) -> Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log_on_close(&connection, true)?;
    harden(&connection, true)?;
    // It would cost a read that loads one page a fifth of its time, and a read cannot spread damage.
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        check_cells(&connection, true)?;
    }
    Ok(connection)
}

/// 16 MiB. A read of a file of that size finds its pages without a system call. SQLite's default is an eighth of that.
const READER_CACHE: &str = "PRAGMA cache_size = -16384";

fn has_default_cache(connection: &Connection) -> bool {
    let size = connection.query_row("PRAGMA cache_size", (), |row| row.get(0));
    size == Ok(-2_000)
}

/// Switches that keep a file from doing harm, and their values for a file that is not trusted.
const HARDENED: [(DbConfig, bool); 2] = [
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
];
/// SQLite's own limits are a thousand million bytes, and 250 million instructions.
const LIMITS: [(Limit, i32); 2] = [
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 16 * 1024 * 1024),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000_000),
];

/// What <https://sqlite.org/security.html> advises, as far as it breaks nothing; with `on` false, SQLite's defaults.
fn harden(connection: &Connection, on: bool) -> Result<()> {
    for (switch, hardened) in HARDENED {
        connection.set_db_config(switch, hardened == on)?;
    }
    for (limit, hardened) in LIMITS {
        // SQLite reduces a larger value to its compile-time limit, <https://sqlite.org/c3ref/limit.html>.
        connection.set_limit(limit, if on { hardened } else { i32::MAX })?;
    }
    Ok(())
}

/// Whether each page is checked when it is loaded.
fn check_cells(connection: &Connection, on: bool) -> Result<()> {
    let setting = if on {
        "PRAGMA cell_size_check = ON"
    } else {
        "PRAGMA cell_size_check = OFF"
    };
    Ok(connection.execute_batch(setting)?)
}

/// Whether the last connection to close leaves the log in place. Otherwise it removes the log, even if an error has kept
/// its content from being copied into the file.
pub(crate) fn keep_log_on_close(connection: &Connection, keep: bool) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

pub(crate) fn is_busy(error: &Error) -> bool {
    matches!(
        error.primary_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

pub(crate) type SharedOpener = Arc<Opener>;
