//! Whether the write-ahead log beside a database file was written for that file.
//!
//! SQLite applies any log with valid checksums to whatever database is beside it. So a backup that is restored beside
//! the log of a killed program becomes a mixture of two databases. A log names no file, but its copies of page 1 and
//! its page counts must fit the file. The following holds after any crash of the file's own writer:
//!
//! - A database with a log is in WAL mode: the mode changes through a rollback journal, before the log is created and
//!   after it is removed.
//! - Page 1 of the file is as it was before the log began, or as a commit in the log has it. The first page 1 in the
//!   log carries the file's change counter or the next one, because a writer counts up from the page 1 that it has
//!   read.
//! - A commit that leaves page 1 alone leaves the number of pages unchanged.
//!
//! Formats: <https://sqlite.org/fileformat2.html>, sections 1.3 and 4.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::open::{Opener, connect, is_busy, log_of, side_of};
use crate::error::{Error, Result};

/// Refuses a log that was written for another file. Changes nothing.
pub(crate) fn refuse_foreign_log(opener: &Opener) -> Result<()> {
    let path = fs::canonicalize(&opener.path).unwrap_or_else(|_| opener.path.clone());
    let log = log_of(&path);
    if length(&log)? <= LOG_HEADER as u64 {
        return Ok(());
    }
    let read = |why| match why {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(Error::ForeignLog {
            log: log.as_path().into(),
            why,
        }),
        Err(error) => Err(Error::io(&log, error)),
    };
    if length(&path)? == 0 {
        // SQLite would remove the log of a missing database, and with it the only copy of acknowledged writes.
        let why = mismatch(None, &mut open_log(&log)?);
        return read(why);
    }
    if length(&side_of(&path, "-journal"))? > 0 {
        // SQLite rolls the journal back first, so the present contents of the file do not count.
        return Ok(());
    }
    let Some(alone) = alone(opener)? else {
        return Ok(());
    };
    let database = Database::read(&path).map_err(|error| Error::io(&path, error));
    drop(alone);
    match database? {
        Some(database) => read(mismatch(Some(&database), &mut open_log(&log)?)),
        None => Ok(()),
    }
}

fn length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(path, error)),
    }
}

fn open_log(log: &Path) -> Result<BufReader<File>> {
    let file = File::open(log).map_err(|error| Error::io(log, error))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// How long a start retries. A lock held longer belongs to a user of the file, not to another start that checks it.
const MOMENT: Duration = Duration::from_millis(8);

/// An exclusive connection to the file. `None` if it cannot be had, for example because the file is in use: then its
/// log has been accepted before.
///
/// Closing any descriptor of a file drops all of the process's locks on it. So the file may be opened by other means
/// than SQLite only while no connection of this process holds a lock on it: <https://sqlite.org/howtocorrupt.html>,
/// section 2.2.
///
/// Without the program's `on_open`, which may read the file: that comes after this check. The lock needs no key.
fn alone(opener: &Opener) -> Result<Option<Connection>> {
    let connection = connect(&opener.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::ZERO)?;
    if connection.is_readonly("main")? {
        return Ok(None);
    }
    // In this mode SQLite keeps the index of the log in memory and creates no side file (sqlite.org/wal.html#noshm).
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    let mut pause = Duration::from_millis(1);
    loop {
        let locked = connection
            .query_row("PRAGMA main.schema_version", (), |row| row.get::<_, i64>(0))
            .map_err(Error::from);
        match locked {
            Ok(_) => return Ok(Some(connection)),
            Err(error) if is_busy(&error) && pause <= MOMENT => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            // SQLite takes the lock before it reads page 1, so the connection has it. Page 1 may look damaged if the
            // log is of another file.
            Err(error)
                if matches!(
                    error.primary_code(),
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                ) =>
            {
                return Ok(Some(connection));
            }
            Err(_) => return Ok(None),
        }
    }
}

/// What the database file says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Database {
    is_wal: bool,
    pub(super) page_size: u32,
    pub(super) page_one: PageOne,
    /// The number of pages by the length of the file.
    pages: u64,
}

/// What a copy of page 1 says.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageOne {
    pub(super) counter: u32,
    /// `None` if a version of SQLite wrote it that does not maintain this field.
    pages: Option<u32>,
}

const DATABASE_HEADER: usize = 100;

impl Database {
    /// `None` if SQLite would not accept the file as a database, for example because it is encrypted.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut header = [0; DATABASE_HEADER];
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        match (&file).read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        Ok(Self::of(&header, length))
    }

    fn of(header: &[u8], length: u64) -> Option<Self> {
        if !header.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => u32::from(size),
        };
        Some(Self {
            is_wal: header[18..20] == [2, 2],
            page_size,
            page_one: PageOne::of(header),
            pages: length.checked_div(u64::from(page_size))?,
        })
    }

    /// Whether `pages` is its number of pages by the header or by its length.
    pub(super) fn may_have(&self, pages: u32) -> bool {
        u64::from(pages) == self.pages || self.page_one.pages.is_none_or(|own| own == pages)
    }
}

impl PageOne {
    pub(super) fn of(page: &[u8]) -> Self {
        let counter = number(page, 24);
        let pages = (number(page, 92) == counter).then(|| number(page, 28));
        Self { counter, pages }
    }
}

pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(bytes.unwrap_or_default())
}

/// Why a log cannot belong to this database, or to a missing one. `None` if it can, or if it holds no commit: SQLite
/// ignores such a log.
fn mismatch(database: Option<&Database>, log: &mut impl Read) -> io::Result<Option<&'static str>> {
    let Some(mut log) = Log::begin(log)? else {
        return Ok(None);
    };
    // The change counter of the first page 1 in the log; the number of pages before that; and whether a checkpoint has
    // copied a page 1 of the log into the file.
    let (mut first_counter, mut pages_before, mut is_copied) = (None, None, false);
    let mut is_committed = false;
    while let Some(commit) = log.next_commit()? {
        is_committed = true;
        match commit.page_one {
            Some(page) => {
                first_counter.get_or_insert(page.counter);
                is_copied |= database.is_some_and(|file| file.page_one.counter == page.counter);
            }
            None if first_counter.is_none() => {
                pages_before.get_or_insert(commit.pages);
            }
            None => {}
        }
    }
    if !is_committed {
        return Ok(None);
    }
    let Some(file) = database else {
        return Ok(Some("the database is missing or empty"));
    };
    if file.page_size != log.page_size {
        return Ok(Some("its pages have another size"));
    }
    if !file.is_wal {
        return Ok(Some("the database is not in WAL mode"));
    }
    if is_copied {
        return Ok(None);
    }
    let counter = file.page_one.counter;
    let goes_on = |first| first == counter || first == counter.wrapping_add(1);
    if !first_counter.is_none_or(goes_on) {
        return Ok(Some("it goes on from another state of the database"));
    }
    if !pages_before.is_none_or(|pages| file.may_have(pages)) {
        return Ok(Some("it is of a database of another size"));
    }
    Ok(None)
}

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const FORMAT: u32 = 3_007_000;

/// The frames of a log that SQLite accepts as valid.
struct Log<'a, R> {
    reader: &'a mut R,
    page_size: u32,
    is_big_endian: bool,
    salts: [u8; 8],
    sum: (u32, u32),
    frame: Vec<u8>,
}

struct Commit {
    /// How many pages the database has after the transaction.
    pages: u32,
    /// Page 1, if the transaction has changed it.
    page_one: Option<PageOne>,
}

impl<'a, R: Read> Log<'a, R> {
    fn begin(reader: &'a mut R) -> io::Result<Option<Self>> {
        let mut header = [0; LOG_HEADER];
        if !fill(reader, &mut header)? {
            return Ok(None);
        }
        let (magic, page_size) = (number(&header, 0), number(&header, 8));
        let mut log = Self {
            reader,
            page_size,
            is_big_endian: magic & 1 == 1,
            salts: [0; 8],
            sum: (0, 0),
            frame: Vec::new(),
        };
        log.salts.copy_from_slice(&header[16..24]);
        log.sum = log.sum_with(&header[..24]);
        let is_valid = magic & !1 == MAGIC
            && number(&header, 4) == FORMAT
            && page_size.is_power_of_two()
            && (512..=65_536).contains(&page_size)
            && log.sum == (number(&header, 24), number(&header, 28));
        log.frame = vec![0; FRAME_HEADER + page_size as usize * usize::from(is_valid)];
        Ok(is_valid.then_some(log))
    }

    /// The next transaction. Frames after the last commit do not count.
    fn next_commit(&mut self) -> io::Result<Option<Commit>> {
        let mut page_one = None;
        while self.next_frame()? {
            if number(&self.frame, 0) == 1 {
                page_one = Some(PageOne::of(&self.frame[FRAME_HEADER..]));
            }
            let pages = number(&self.frame, 4);
            if pages > 0 {
                return Ok(Some(Commit { pages, page_one }));
            }
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> io::Result<bool> {
        let mut frame = std::mem::take(&mut self.frame);
        let is_whole = fill(self.reader, &mut frame);
        self.frame = frame;
        if !is_whole? || number(&self.frame, 0) == 0 || self.frame[8..16] != self.salts {
            return Ok(false);
        }
        self.sum = self.sum_with(&self.frame[..8]);
        self.sum = self.sum_with(&self.frame[FRAME_HEADER..]);
        Ok(self.sum == (number(&self.frame, 16), number(&self.frame, 20)))
    }

    fn sum_with(&self, bytes: &[u8]) -> (u32, u32) {
        let word = |word: &[u8]| {
            let word = number(word, 0);
            if self.is_big_endian {
                word
            } else {
                word.swap_bytes()
            }
        };
        bytes.chunks_exact(8).fold(self.sum, |(one, two), pair| {
            let one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
            let two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
            (one, two)
        })
    }
}

/// Reads `bytes.len()` bytes; false if fewer are left.
pub(super) fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
