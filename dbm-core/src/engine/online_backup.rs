//! A copy of the database while it is in use, from one snapshot.
//!
//! SQLite's backup API starts over when another connection commits, unless the source is inside of a read transaction
//! (<https://sqlite.org/backup.html>). That transaction keeps the log from starting over, so the log grows until the copy
//! is complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::Progress;

use super::copies::{OpenSource, Stop};
use super::database_copy::{Check, DatabaseCopy, is_taken, with_ending};
use super::engine::Engine;
use super::idle;
use super::open::side_of;
use crate::error::{Error, Result};

/// What the copy has as a name until it is complete.
const UNFINISHED: &str = "unfinished";
/// How long the copy rests after each step, and after as long a time of checking, so that others get the disk.
const REST: Duration = Duration::from_millis(20);
/// SQLite asks whether to go on after this many steps of the check.
const ASK_EVERY: i32 = 1_000;
const CLOSED: Error = Error::Closed { method: "back_up" };

/// A snapshot of the database that is being copied.
struct Source<'a> {
    connection: Option<Connection>,
    engine: &'a Engine,
    /// Dropped last: the manager's connections may be closed then.
    _open: OpenSource<'a>,
}

impl<'a> Source<'a> {
    fn open(engine: &'a Engine) -> Result<Self> {
        let mut source = Self {
            connection: None,
            engine,
            _open: engine.copies.open_source().ok_or(CLOSED)?,
        };
        engine.writer.copy_begins();
        let opener = &engine.opener;
        opener.check_identity()?;
        idle::tell_of_open();
        let connection = opener.connect_read_only(&opener.path, opener.config.busy_timeout)?;
        // BEGIN alone takes no snapshot: the first read does.
        connection.execute_batch("BEGIN; PRAGMA main.schema_version")?;
        source.connection = Some(connection);
        Ok(source)
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.connection = None;
        self.engine.writer.copy_ends();
    }
}

/// How a copy is made.
pub(crate) struct Order {
    pub(crate) to: PathBuf,
    pub(crate) at_full_speed: bool,
}

impl Engine {
    /// Copies the database. Blocks for long, so it has a thread of its own. `tell` gets the pages that are copied, and their
    /// number.
    pub(crate) fn back_up(
        &self,
        order: &Order,
        stop: &Arc<Stop>,
        tell: impl FnMut(u64, u64),
    ) -> Result<()> {
        let entered = self.copies.enter(stop).ok_or(CLOSED)?;
        let copied = self.copy(order, stop, tell);
        drop(entered);
        // Once it is to end, how it does is of no interest.
        copied.map_err(|error| go_on(stop).err().unwrap_or(error))
    }

    fn copy(&self, order: &Order, stop: &Arc<Stop>, mut tell: impl FnMut(u64, u64)) -> Result<()> {
        let to = std::path::absolute(&order.to).map_err(|error| Error::io(&order.to, error))?;
        refuse_target(&to)?;
        let mut copy = DatabaseCopy::begin(with_ending(&to, UNFINISHED), &self.opener)?;
        {
            let source = Source::open(self)?;
            let connection = source.connection.as_ref().ok_or(Error::HandleEnded)?;
            copy.fill(connection, |progress: &Progress| {
                let pages = |count| u64::try_from(count).unwrap_or(0);
                let (total, left) = (pages(progress.pagecount), pages(progress.remaining));
                tell(total - left.min(total), total);
                if !order.at_full_speed && left > 0 {
                    stop.wait(REST);
                }
                go_on(stop)
            })?;
        }
        // Not before the source is closed: nothing needs the log any more.
        pace(copy.connection()?, stop, order.at_full_speed)?;
        copy.check(&Check::Quick)?;
        let path = &self.opener.path;
        let mode = fs::metadata(path).map_err(|error| Error::io(path, error))?;
        copy.sync(mode.permissions())?;
        go_on(stop)?;
        if copy.publish(&to)? {
            Ok(())
        } else {
            Err(Error::TargetExists { path: to.into() })
        }
    }
}

fn go_on(stop: &Stop) -> Result<()> {
    if stop.is_set() { Err(CLOSED) } else { Ok(()) }
}

/// Ends the check with the copy. Unless at full speed, it rests for as long as it has worked.
fn pace(copy: &Connection, stop: &Arc<Stop>, at_full_speed: bool) -> Result<()> {
    let (stop, mut rested) = (Arc::clone(stop), Instant::now());
    let ask = move || {
        if !at_full_speed && rested.elapsed() >= REST {
            stop.wait(REST);
            rested = Instant::now();
        }
        stop.is_set()
    };
    copy.progress_handler(ASK_EVERY, Some(ask))?;
    Ok(())
}

/// Refuses a name that is taken, and a place beside which a log lies: SQLite would apply it to the copy.
fn refuse_target(to: &Path) -> Result<()> {
    if is_taken(to)? {
        return Err(Error::TargetExists { path: to.into() });
    }
    for ending in ["-wal", "-journal"] {
        let log = side_of(to, ending);
        if is_taken(&log)? {
            let fix = "remove it, or choose another name";
            return Err(Error::LogBeside {
                log: log.into(),
                fix,
            });
        }
    }
    Ok(())
}
