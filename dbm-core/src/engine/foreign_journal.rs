//! Whether the rollback journal beside a database file was written for that file.
//!
//! SQLite plays any hot journal back into any database beside it. A transaction takes page 1 as it was into its journal and
//! counts its change counter up by one at most, so the file has one of two values. One that has not come to page 1 yet has
//! left the number of pages as it was.
//!
//! Format: <https://sqlite.org/fileformat2.html>, section 3.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek as _, SeekFrom};

use super::foreign_log::{Database, PageOne, fill, number};
use super::open::{Opener, side_of};
use crate::error::{Error, Result};

/// Refuses a hot journal that was written for another file. Changes nothing.
///
/// For a file that SQLite has just refused to roll back on a connection that may only read: then nobody has a lock on it
/// that would be lost when it is closed here.
pub(super) fn refuse_foreign_journal(opener: &Opener) -> Result<()> {
    let path = fs::canonicalize(&opener.path).unwrap_or_else(|_| opener.path.clone());
    let journal = side_of(&path, "-journal");
    let failed = |error| Error::io(&journal, error);
    let Some(database) = Database::read(&path).map_err(|error| Error::io(&path, error))? else {
        return Ok(());
    };
    let file = File::open(&journal).map_err(failed)?;
    match mismatch(&database, file).map_err(failed)? {
        None => Ok(()),
        Some(why) => Err(Error::ForeignLog { log: journal, why }),
    }
}

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const HEADER: usize = 28;

/// Why a journal cannot be of this database. `None` when it can, and when there is nothing in it to play back.
fn mismatch(database: &Database, file: File) -> io::Result<Option<&'static str>> {
    let mut journal = Journal(BufReader::new(file));
    let (mut at, mut pages_before) = (0, None);
    while let Some(part) = journal.part(at)? {
        if part.page_size != database.page_size {
            return Ok(Some("its pages have another size"));
        }
        pages_before.get_or_insert(part.pages);
        if let Some(page) = journal.page_one(&part)? {
            let (before, now) = (page.counter, database.page_one.counter);
            let goes_on = now == before || now == before.wrapping_add(1);
            return Ok((!goes_on).then_some("it goes on from another state of the database"));
        }
        let Some(next) = part.next(at) else { break };
        at = next;
    }
    // Page 1 was left alone, and with it the number of pages.
    let fits = pages_before.is_none_or(|pages| database.may_have(pages));
    Ok((!fits).then_some("it is of a database of another size"))
}

struct Journal(BufReader<File>);

/// What was written between two syncs.
struct Part {
    /// As many as there are, where it was not synced.
    records: u32,
    nonce: u32,
    /// Pages of the database before the transaction.
    pages: u32,
    sector: u32,
    page_size: u32,
}

impl Journal {
    fn part(&mut self, at: u64) -> io::Result<Option<Part>> {
        let mut header = [0; HEADER];
        self.0.seek(SeekFrom::Start(at))?;
        if !fill(&mut self.0, &mut header)? || !header.starts_with(&MAGIC) {
            return Ok(None);
        }
        let part = Part {
            records: number(&header, 8),
            nonce: number(&header, 12),
            pages: number(&header, 16),
            sector: number(&header, 20),
            page_size: number(&header, 24),
        };
        self.0.seek(SeekFrom::Start(at + u64::from(part.sector)))?;
        Ok((part.records > 0 && part.sector > 0).then_some(part))
    }

    /// Page 1 as it was, if it is in this part.
    fn page_one(&mut self, part: &Part) -> io::Result<Option<PageOne>> {
        let size = part.page_size as usize;
        let mut record = vec![0; 4 + size + 4];
        for _ in 0..part.records {
            if !fill(&mut self.0, &mut record)? {
                break;
            }
            let page = &record[4..4 + size];
            let sampled = page.iter().rev().skip(199).step_by(200);
            let sum = sampled.fold(part.nonce, |sum, byte| sum.wrapping_add(u32::from(*byte)));
            if sum != number(&record, 4 + size) {
                break;
            }
            if number(&record, 0) == 1 {
                return Ok(Some(PageOne::of(page)));
            }
        }
        Ok(None)
    }
}

impl Part {
    /// Where the next one begins.
    fn next(&self, at: u64) -> Option<u64> {
        let sector = u64::from(self.sector);
        let records = u64::from(self.records).checked_mul(u64::from(self.page_size) + 8)?;
        at.checked_add(sector)?
            .checked_add(records)?
            .checked_next_multiple_of(sector)
    }
}
