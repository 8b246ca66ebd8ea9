//! Whether the rollback journal beside a database file was written for that file.
//!
//! SQLite rolls any hot journal back into whatever database is beside it. A transaction saves the old page 1 in its
//! journal and increases the change counter at most once, so the file has the journal's counter or the next one. A
//! transaction that has not reached page 1 has left the number of pages unchanged.
//!
//! Format: <https://sqlite.org/fileformat2.html>, section 3.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek as _, SeekFrom};

use super::foreign_log::{Database, PageOne, fill, number};
use super::open::{Opener, side_of};
use crate::error::{Error, Result};

/// Refuses a hot journal that was written for another file. Changes nothing.
///
/// Called only after SQLite has refused, on a read-only connection, to roll this file back. At that point no connection
/// of this process holds a lock on the file, so closing the descriptor here loses none (sqlite.org/howtocorrupt.html,
/// section 2.2).
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
        Some(why) => Err(Error::ForeignLog {
            log: journal.into(),
            why,
        }),
    }
}

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const HEADER: usize = 28;

/// Why a journal cannot belong to this database. `None` if it can, or if it holds nothing to roll back.
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
    // The transaction left page 1 alone, and so the number of pages as well.
    let fits = pages_before.is_none_or(|pages| database.may_have(pages));
    Ok((!fits).then_some("it is of a database of another size"))
}

struct Journal(BufReader<File>);

/// The part of a journal between two syncs.
struct Part {
    /// How many records the part has. An unsynced part does not say: it goes to the end of the file.
    records: u32,
    nonce: u32,
    /// The number of pages that the database had before the transaction.
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

    /// The old page 1, if it is in this part.
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
    /// Where the next part begins.
    fn next(&self, at: u64) -> Option<u64> {
        let sector = u64::from(self.sector);
        let records = u64::from(self.records).checked_mul(u64::from(self.page_size) + 8)?;
        at.checked_add(sector)?
            .checked_add(records)?
            .checked_next_multiple_of(sector)
    }
}
