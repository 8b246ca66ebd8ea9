//! A statement as a value that can run where the task is or on a thread, and what is known about its cost.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection};

use crate::error::{Error, Result};
use crate::params::BoundParams;
#[cfg(feature = "remote")]
use crate::row::Answer;
use crate::row::Rows;

/// Something to do on a connection.
pub(crate) enum Work<'a, T> {
    /// One prepared statement.
    Statement {
        sql: Cow<'a, str>,
        params: BoundParams,
        finish: Finish<T>,
        /// `finish` reads rows, which may fail after the statement has done its work.
        returns_rows: bool,
    },
    /// One prepared statement, with more to do than a function pointer can know.
    Operation {
        sql: Cow<'a, str>,
        operation: Box<dyn Operation<T>>,
    },
    /// Several statements without parameters.
    Script {
        sql: Cow<'a, str>,
        finish: fn() -> T,
    },
    /// The closure of `call`; taken when it runs.
    Closure(Option<Closure<T>>),
}

/// Reads what a statement yields.
pub(crate) type Finish<T> = fn(Yield<'_, '_>) -> Result<T>;

/// What a statement yields: one of SQLite that is prepared and bound runs only when it is read.
pub(crate) enum Yield<'a, 's> {
    Statement(&'a Connection, &'a mut rusqlite::Statement<'s>),
    #[cfg(feature = "remote")]
    Answer(&'a Answer),
}

impl<'a> Yield<'a, '_> {
    #[inline]
    pub(crate) fn rows(self) -> Rows<'a> {
        match self {
            Self::Statement(_, statement) => statement.raw_query().into(),
            #[cfg(feature = "remote")]
            Self::Answer(answer) => answer.into(),
        }
    }
}

/// Counts the rows that a statement has changed, once it has run to its end.
#[inline]
pub(crate) fn changed(yielded: Yield<'_, '_>) -> Result<usize> {
    match yielded {
        Yield::Statement(connection, statement) => execute(connection, statement),
        #[cfg(feature = "remote")]
        Yield::Answer(answer) => Ok(usize::try_from(answer.changed()).unwrap_or(usize::MAX)),
    }
}

/// What to do with a statement that is prepared. Where the task is, it may be stopped, and is then run again from the
/// start.
pub(crate) trait Operation<T>: Send {
    fn run(
        &mut self,
        connection: &Connection,
        statement: &mut rusqlite::Statement<'_>,
    ) -> Result<T>;

    /// How often it runs the statement.
    fn runs(&self) -> u32 {
        1
    }

    /// How long it has waited for its caller since the last call of this.
    fn take_waited(&mut self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) type Closure<T> = Box<dyn FnOnce(&Connection) -> Result<T> + Send>;

impl<T> Work<'_, T> {
    pub(crate) fn sql(&self) -> Option<&str> {
        match self {
            Self::Statement { sql, .. }
            | Self::Operation { sql, .. }
            | Self::Script { sql, .. } => Some(sql),
            Self::Closure(_) => None,
        }
    }

    /// Whether it is one statement, which has one plan.
    pub(crate) fn is_one_statement(&self) -> bool {
        matches!(self, Self::Statement { .. } | Self::Operation { .. })
    }

    /// How often it runs its statement.
    pub(crate) fn runs(&self) -> u32 {
        match self {
            Self::Operation { operation, .. } => operation.runs().max(1),
            _ => 1,
        }
    }

    pub(crate) fn take_waited(&mut self) -> Duration {
        match self {
            Self::Operation { operation, .. } => operation.take_waited(),
            _ => Duration::ZERO,
        }
    }

    /// Whether it can do something that cannot be undone apart from other calls' work, or whether that is unknown.
    pub(crate) fn needs_exclusive(&self) -> bool {
        self.sql().is_none_or(schema_is_exclusive)
    }

    pub(crate) fn into_owned(self) -> Work<'static, T> {
        match self {
            Self::Statement {
                sql,
                params,
                finish,
                returns_rows,
            } => Work::Statement {
                sql: Cow::Owned(sql.into_owned()),
                params,
                finish,
                returns_rows,
            },
            Self::Operation { sql, operation } => Work::Operation {
                sql: Cow::Owned(sql.into_owned()),
                operation,
            },
            Self::Script { sql, finish } => Work::Script {
                sql: Cow::Owned(sql.into_owned()),
                finish,
            },
            Self::Closure(closure) => Work::Closure(closure),
        }
    }
}

/// SQLite takes a NUL as the end of the text, and ignores what follows.
pub(crate) fn check_text(sql: &str) -> Result<()> {
    if sql.as_bytes().contains(&0) {
        return Err(Error::SqlText {
            message: "has a NUL character, at which SQLite would stop reading it",
        });
    }
    Ok(())
}

/// Whether a text begins with this word, in any case, behind what is white space to SQLite.
#[inline]
pub(crate) fn begins_with(sql: &str, word: &str) -> bool {
    let text = sql.as_bytes().trim_ascii_start();
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// Runs a statement to its end and counts the rows that it changed. SQLite counts per connection: after a statement that
/// changes no rows, its count is still that of an earlier one, <https://sqlite.org/c3ref/changes.html>.
pub(crate) fn execute(
    connection: &Connection,
    statement: &mut rusqlite::Statement<'_>,
) -> Result<usize> {
    let before = connection.total_changes();
    run_to_end(statement)?;
    if connection.total_changes() == before {
        return Ok(0);
    }
    Ok(usize::try_from(connection.changes()).unwrap_or(usize::MAX))
}

/// Runs the statements of a script, each to its end: a statement that yields rows may do its work, or fail, at any of
/// them.
pub(crate) fn run_script(connection: &Connection, sql: &str) -> Result<()> {
    let mut script = Batch::new(connection, sql);
    while let Some(mut statement) = script.next().map_err(Error::of_text)? {
        let expected = statement.parameter_count();
        if expected > 0 {
            return Err(Error::ParameterCount { expected, given: 0 });
        }
        run_to_end(&mut statement).map_err(Error::of_run)?;
    }
    Ok(())
}

fn run_to_end(statement: &mut rusqlite::Statement<'_>) -> Result<()> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// A statement that takes less than this runs where the task is.
const SHORT: Duration = Duration::from_micros(100);
/// An inline read that takes longer than this is stopped and run again on the worker thread.
pub(crate) const FUSE: Duration = Duration::from_micros(200);
/// One in so many runs of short statements is measured. A prime, so that each of several that take turns is measured.
const MEASURED_EVERY: u32 = 17;
/// Limits of the remembered statement texts. A program that writes values into its SQL reaches them; then all texts are
/// forgotten.
const MAX_PROFILES: usize = 1_000;
const MAX_BYTES: usize = 256 * 1024;
/// A longer text is neither remembered nor kept prepared: SQLite needs about twenty times its length for that.
const MAX_TEXT: usize = 4 * 1024;

/// Whether a statement is prepared again for each run.
pub(crate) fn is_long(sql: &str) -> bool {
    sql.len() > MAX_TEXT
}

/// What to expect of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Short,
    /// It is not known to be short.
    Long,
    /// It would harm the other members of its transaction.
    Harmful,
}

/// What is known about the statements that one connection has run.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    known: BTreeMap<Box<str>, Timing>,
    /// The length of all texts.
    bytes: usize,
    started_over: bool,
    /// Runs of statements that are short, as far as is known.
    short_runs: u32,
    /// What the last run took whose time was taken.
    last: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Timing {
    average: Duration,
    /// It can be stopped without harm, or cannot become long.
    harmless: bool,
    needs_exclusive: bool,
}

impl Timing {
    fn is_short(self, runs: u32) -> bool {
        self.harmless && self.average < SHORT && (runs == 1 || self.average * runs < SHORT)
    }
}

impl Timings {
    /// What earlier runs have shown, of a text that is to run so often. Before the first run: what the plan says.
    pub(crate) fn expect(
        &mut self,
        sql: &str,
        runs: u32,
        shares: bool,
        reads_single_rows: impl FnOnce() -> bool,
    ) -> Expected {
        let known = self.known.get(sql);
        let needs_exclusive =
            || known.map_or_else(|| schema_is_exclusive(sql), |known| known.needs_exclusive);
        if shares && needs_exclusive() {
            return Expected::Harmful;
        }
        let short = match known {
            Some(timing) => timing.is_short(runs),
            None => {
                let short = !is_long(sql) && reads_single_rows();
                if short {
                    self.insert(sql, Duration::ZERO, true);
                }
                short
            }
        };
        if short {
            Expected::Short
        } else {
            Expected::Long
        }
    }

    /// When a run begins, if it is one whose time is taken: reading the clock twice takes as long as a tenth of a short
    /// statement. A short one that has become long burns its fuse, which is noticed without this.
    pub(crate) fn clock(&mut self, is_short: bool) -> Option<Instant> {
        if is_short {
            self.short_runs = self.short_runs.wrapping_add(1);
        }
        let is_due = !is_short || self.short_runs.is_multiple_of(MEASURED_EVERY);
        is_due.then(Instant::now)
    }

    /// What a run has taken, if its time was taken. Otherwise a guess.
    pub(crate) fn took(&mut self, measured: Option<Duration>) -> Duration {
        self.last = measured.unwrap_or(self.last);
        self.last
    }

    /// Moving average over about eight measured times. It took so long to run it `runs` times. `was_short` is what the caller was told before this run. A statement
    /// that stays well below the limit need not be recorded each time.
    pub(crate) fn record(
        &mut self,
        sql: &str,
        took: Duration,
        runs: u32,
        was_short: bool,
        is_harmless: impl FnOnce() -> bool,
    ) {
        if was_short && took < SHORT / 2 || is_long(sql) {
            return;
        }
        let took = took / runs;
        if let Some(timing) = self.known.get_mut(sql) {
            timing.average = (timing.average * 7 + took) / 8;
            return;
        }
        self.insert(sql, took, is_harmless());
    }

    fn insert(&mut self, sql: &str, average: Duration, harmless: bool) {
        if self.known.len() >= MAX_PROFILES || self.bytes + sql.len() > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
            self.started_over = true;
        }
        self.bytes += sql.len();
        let needs_exclusive = schema_is_exclusive(sql);
        let timing = Timing {
            average,
            harmless,
            needs_exclusive,
        };
        self.known.insert(sql.into(), timing);
    }

    /// Whether all texts were forgotten since the last call of this. What was prepared from them is then useless too.
    pub(crate) fn take_started_over(&mut self) -> bool {
        std::mem::take(&mut self.started_over)
    }
}

/// Whether a statement may run where the task is once it is known to be short. A read that takes longer for once is
/// stopped. A write cannot be stopped, so its plan must touch single rows only.
pub(crate) fn is_harmless(connection: &Connection, sql: &str) -> bool {
    is_read(connection, sql)
        || plan(connection, sql).is_ok_and(|steps| steps.iter().all(|step| finds_one_row(step)))
}

/// Whether a statement that has never run may run where the task is. A write may not: its plan does not show what its
/// triggers do.
pub(crate) fn reads_single_rows(connection: &Connection, sql: &str) -> bool {
    is_read(connection, sql)
        && plan(connection, sql)
            .is_ok_and(|steps| !steps.is_empty() && steps.iter().all(|step| finds_one_row(step)))
}

fn is_read(connection: &Connection, sql: &str) -> bool {
    connection
        .prepare_cached(sql)
        .is_ok_and(|statement| statement.readonly())
}

/// The steps of the query plan. An INSERT of values has none, and neither has a PRAGMA.
fn plan(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    plan.raw_query().mapped(|step| step.get(3)).collect()
}

fn finds_one_row(step: &str) -> bool {
    step.starts_with("SEARCH") && step.contains("(rowid=?)")
}

/// Words that make a statement dangerous for the other members of its transaction: a conflict clause that rolls
/// everything back or leaves a statement half done, constraints that fail only at COMMIT, or a TEMP object, which the members
/// would see. The authorizer refuses a TEMP object that is overlooked here.
fn schema_is_exclusive(sql: &str) -> bool {
    let text = sql.as_bytes();
    let starts_with = |at: usize, word: &[u8]| {
        text.get(at..at + word.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let is_in_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_word = |from: usize, to: usize| {
        !is_in_word(from.checked_sub(1).and_then(|before| text.get(before)))
            && !is_in_word(text.get(to))
    };
    let mut creates = false;
    text.iter().enumerate().any(|(at, byte)| match byte {
        b'c' | b'C' => {
            creates |= starts_with(at, b"create");
            false
        }
        b't' | b'T' => creates && starts_with(at, b"temp"),
        b'r' | b'R' => starts_with(at, b"rollback"),
        b'f' | b'F' => starts_with(at, b"fail") && is_word(at, at + 4),
        b'd' | b'D' => starts_with(at, b"defer"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_words_are_found_in_any_case() {
        assert!(schema_is_exclusive("insert Or RollBack into t values (1)"));
        assert!(schema_is_exclusive("PRAGMA DEFER_foreign_keys = ON"));
        assert!(schema_is_exclusive("UPDATE OR Fail t SET n = 1"));
        assert!(!schema_is_exclusive("INSERT INTO t VALUES (1)"));
        assert!(!schema_is_exclusive(
            "DELETE FROM failure WHERE did_fail OR fails"
        ));
        assert!(!schema_is_exclusive(""));
    }

    #[test]
    fn a_statement_becomes_short_and_long_again() {
        let mut timings = Timings::default();
        let no = || false;
        assert_eq!(timings.expect("a", 1, false, no), Expected::Long);
        timings.record("a", Duration::from_micros(5), 1, false, || true);
        assert_eq!(timings.expect("a", 1, false, no), Expected::Short);
        timings.record("a", Duration::from_millis(2), 1, true, || true);
        assert_eq!(timings.expect("a", 1, false, no), Expected::Long);
        let its_plan = timings.expect("b", 1, false, || true);
        assert_eq!(its_plan, Expected::Short);
        let asked_once = timings.expect("b", 1, false, no);
        assert_eq!(asked_once, Expected::Short);
        for number in 0..2 * MAX_PROFILES {
            timings.record(&number.to_string(), Duration::ZERO, 1, false, || true);
        }
        assert!(timings.known.len() <= MAX_PROFILES);
    }

    #[test]
    fn texts_are_remembered_by_their_bytes() {
        let mut timings = Timings::default();
        for number in 0..2 * MAX_PROFILES {
            let text = format!("{number:>3000}");
            timings.record(&text, Duration::ZERO, 1, false, || true);
            timings.record(
                &"x".repeat(MAX_TEXT + number + 1),
                Duration::ZERO,
                1,
                false,
                || true,
            );
        }
        let bytes: usize = timings.known.keys().map(|text| text.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes == timings.bytes);
        assert!(!timings.known.keys().any(|text| is_long(text)));
        assert!(timings.take_started_over() && !timings.take_started_over());
    }

    #[test]
    fn a_write_is_harmless_when_it_touches_single_rows() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); CREATE INDEX by_n ON t (n)",
        )
        .unwrap();
        for sql in [
            "SELECT * FROM t",
            "INSERT INTO t (n) VALUES (?1)",
            "INSERT INTO t (id, n) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            "UPDATE t SET n = n + 1 WHERE id = ?1",
            "DELETE FROM t WHERE id = ?1",
        ] {
            assert!(is_harmless(&db, sql), "{sql}");
        }
        for sql in [
            "INSERT INTO t (n) SELECT n FROM t",
            "UPDATE t SET n = 0",
            "DELETE FROM t WHERE n = ?1",
            "DELETE FROM t WHERE id > ?1",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?1) INSERT INTO t (n) SELECT x FROM c",
            "not sql",
        ] {
            assert!(!is_harmless(&db, sql), "{sql}");
        }
    }

    #[test]
    fn a_read_of_single_rows_is_known_by_its_plan() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
            .unwrap();
        for (sql, expected) in [
            ("SELECT n FROM t WHERE id = ?1", true),
            ("SELECT n FROM t", false),
            ("SELECT n FROM t WHERE id > ?1", false),
            ("SELECT hex(zeroblob(1000))", false),
            ("PRAGMA integrity_check", false),
            ("UPDATE t SET n = 1 WHERE id = ?1", false),
            ("not sql", false),
        ] {
            assert_eq!(reads_single_rows(&db, sql), expected, "{sql}");
        }
    }
}
