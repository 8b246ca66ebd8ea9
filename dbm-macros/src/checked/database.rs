//! The schema of a folder in a database in memory, and what SQLite says of a statement there.

use super::excerpt::places_of;
use super::fault::{Fault, fault};
use dbm_sql::{Part, Rebuild, Refusal, parts, statements};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Null;
use rusqlite::{Connection, Statement};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Virtual machine instructions between two looks at the budget.
const PROGRESS_EVERY: i32 = 1_000;
/// For all statements of a folder, about a second's worth; one that never ends must not hold up the compiler.
const BUDGET: u64 = 10_000;
/// For each one after that.
const LEFT: u64 = 100;

/// Who says a statement, and so what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Speaker {
    #[default]
    Library,
    File,
    Body,
}

/// What was asked for while a statement was prepared.
#[derive(Default)]
struct Seen {
    speaker: Speaker,
    refused: Option<Refusal>,
    writes: bool,
    changes_schema: bool,
}

/// What a statement that SQLite takes is like.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) columns: usize,
    /// The name of each parameter, if it has one.
    pub(super) parameters: Vec<Option<String>>,
    pub(super) writes: bool,
    pub(super) changes_schema: bool,
}

pub(super) struct Database {
    connection: Connection,
    seen: Arc<Mutex<Seen>>,
    budget: Arc<AtomicU64>,
    spent: Arc<AtomicBool>,
    /// Stand-ins for what the program registers, with what SQLite says without them.
    stubs: BTreeMap<String, String>,
    knows_all: bool,
    /// Tables of modules that only the program has.
    unknown_tables: Vec<String>,
    /// Something that shapes the schema took too long: nothing is known.
    unsure: bool,
}

impl Database {
    /// With the table `Version`, as the library makes it.
    pub(super) fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let for_authorizer = Arc::clone(&seen);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            lock(&for_authorizer).authorize(&context.action)
        }))?;
        let budget = Arc::new(AtomicU64::new(BUDGET));
        let spent = Arc::new(AtomicBool::new(false));
        let (for_progress, for_spent) = (Arc::clone(&budget), Arc::clone(&spent));
        connection.progress_handler(
            PROGRESS_EVERY,
            Some(move || {
                let left = for_progress.load(Ordering::Relaxed);
                for_progress.store(left.saturating_sub(1), Ordering::Relaxed);
                for_spent.fetch_or(left == 0, Ordering::Relaxed);
                left == 0
            }),
        )?;
        connection.execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE Version (
                 major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL,
                 PRIMARY KEY (major, minor, patch)
             ) STRICT;
             INSERT INTO Version VALUES (1, 0, 0)",
        )?;
        Ok(Self {
            connection,
            seen,
            budget,
            spent,
            stubs: BTreeMap::new(),
            knows_all: false,
            unknown_tables: Vec::new(),
            unsure: false,
        })
    }

    /// Whether what it holds is what a program would have.
    pub(super) fn is_sure(&self) -> bool {
        !self.unsure
    }

    /// From here on what is unknown is a fault.
    pub(super) fn has_no_stand_ins(&mut self) {
        self.knows_all = true;
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// From here on like a call's connection: foreign keys are on, and what is in double quotes is a name.
    pub(super) fn ready(&self) -> rusqlite::Result<()> {
        self.connection
            .execute_batch("PRAGMA foreign_keys = ON; PRAGMA legacy_alter_table = OFF")?;
        self.quotes_are_names(true)
    }

    /// Runs a file as the library would; a fault says where in it it is.
    pub(super) fn run_file(&mut self, file: &str) -> Result<(), Fault> {
        let parts = parts(file).map_err(|(place, message)| Fault {
            offset: Some(place),
            ..Fault::new(message)
        })?;
        for (begin, part) in parts {
            match part {
                Part::Plain(sql) => self.run(sql).map_err(|fault| fault.after(begin))?,
                Part::Rebuild(rebuild) => self.rebuild(&rebuild).map_err(|message| Fault {
                    offset: Some(begin),
                    ..Fault::new(message)
                })?,
            }
        }
        Ok(())
    }

    fn rebuild(&mut self, rebuild: &Rebuild<'_>) -> Result<(), String> {
        self.budget.store(BUDGET, Ordering::Relaxed);
        let rebuilt = rebuild.run(&self.connection);
        self.unsure |= self.spent.swap(false, Ordering::Relaxed);
        match rebuilt {
            Err(dbm_sql::Fault::Sqlite(error)) => Err(fault(&error, "").message),
            Err(dbm_sql::Fault::Lost(what)) => Err(what),
            Ok(()) => Ok(()),
        }
    }

    /// Runs a script.
    ///
    /// Each statement by itself: one that is stopped takes back its whole transaction.
    pub(super) fn run(&mut self, script: &str) -> Result<(), Fault> {
        for range in statements(script) {
            let begin = range.start;
            let sql = &script[range];
            let ran = self.knowing(sql, Speaker::File, run_to_end);
            if self.spent.swap(false, Ordering::Relaxed) {
                self.budget.store(LEFT, Ordering::Relaxed);
                // Rows do not matter, tables do.
                self.unsure |= lock(&self.seen).changes_schema;
                continue;
            }
            if let Err(fault) = ran
                && !self.is_of_unknown_module(&fault, sql)
            {
                let offset = fault.offset.or(Some(0));
                return Err(Fault { offset, ..fault }.after(begin));
            }
        }
        Ok(())
    }

    /// What one statement is like; `as_body` is what a body may say.
    pub(super) fn facts(&mut self, sql: &str, as_body: bool) -> Result<Facts, Fault> {
        self.budget.store(BUDGET, Ordering::Relaxed);
        let speaker = if as_body {
            Speaker::Body
        } else {
            Speaker::Library
        };
        let facts = self.knowing(sql, speaker, |statement| {
            let count = statement.parameter_count();
            Ok(Facts {
                columns: statement.column_count(),
                parameters: (1..=count)
                    .map(|index| statement.parameter_name(index).map(str::to_owned))
                    .collect(),
                writes: !statement.readonly() && statement.is_explain() == 0,
                changes_schema: false,
            })
        })?;
        let seen = lock(&self.seen);
        Ok(Facts {
            writes: facts.writes && seen.writes,
            changes_schema: seen.changes_schema,
            ..facts
        })
    }

    /// Does something and takes it back.
    pub(super) fn undone<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> rusqlite::Result<T> {
        self.connection.execute_batch("SAVEPOINT body")?;
        let done = work(self);
        self.connection
            .execute_batch("ROLLBACK TO body; RELEASE body")?;
        Ok(done)
    }

    /// Whether a statement passes when what is in double quotes may be a text.
    pub(super) fn passes_with_quoted_texts(&mut self, sql: &str) -> bool {
        if self.quotes_are_names(false).is_err() {
            return true;
        }
        let passes = self.knowing(sql, Speaker::Body, |_| Ok(())).is_ok();
        self.quotes_are_names(true).is_err() || passes
    }

    /// A stand-in that this statement needs, with what SQLite says without it.
    pub(super) fn stub_in(&self, sql: &str) -> Option<Fault> {
        self.stubs.iter().find_map(|(name, message)| {
            let place = places_of(sql, name).next()?;
            Some(Fault {
                message: message.clone(),
                offset: Some(place),
                strict: true,
            })
        })
    }

    /// Whether a fault may come from a table that a module of the program makes.
    pub(super) fn is_of_unknown_module(&mut self, fault: &Fault, sql: &str) -> bool {
        if self.knows_all {
            return false;
        }
        if fault.message.starts_with("no such module: ") {
            let name = table_of(sql);
            self.unknown_tables.extend(name);
            return true;
        }
        let Some(table) = fault.message.strip_prefix("no such table: ") else {
            return false;
        };
        let table = table.rsplit('.').next().unwrap_or(table);
        self.unknown_tables
            .iter()
            .any(|unknown| unknown.eq_ignore_ascii_case(table))
    }

    /// Prepares a statement, with a stand-in for each function and collation that it lacks, and looks at it.
    fn knowing<T>(
        &mut self,
        sql: &str,
        speaker: Speaker,
        look: impl Fn(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        loop {
            *lock(&self.seen) = Seen {
                speaker,
                ..Seen::default()
            };
            let looked = self
                .connection
                .prepare(sql)
                .and_then(|mut it| look(&mut it));
            lock(&self.seen).speaker = Speaker::Library;
            let error = match looked {
                Ok(looked) => return Ok(looked),
                Err(error) => error,
            };
            if let Some(refusal) = lock(&self.seen).refused {
                return Err(Fault::refused(refusal));
            }
            let fault = fault(&error, sql);
            if !self.add_stub(&fault.message) {
                return Err(fault);
            }
        }
    }

    /// False if it is nothing that a program can register, or is there already.
    fn add_stub(&mut self, message: &str) -> bool {
        let function = message
            .strip_prefix("no such function: ")
            .or_else(|| message.strip_prefix("unknown function: "))
            .map(|name| name.trim_end_matches("()"));
        let collation = message.strip_prefix("no such collation sequence: ");
        let Some(name) = function.or(collation) else {
            return false;
        };
        if self.knows_all || self.stubs.contains_key(name) {
            return false;
        }
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        let added = match function {
            Some(name) => self
                .connection
                .create_scalar_function(name, -1, flags, |_| Ok(Null)),
            None => self.connection.create_collation(name, Ord::cmp),
        };
        self.stubs.insert(name.to_owned(), message.to_owned());
        added.is_ok()
    }

    fn quotes_are_names(&self, on: bool) -> rusqlite::Result<()> {
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, !on)?;
        Ok(())
    }
}

impl Seen {
    fn changes_schema(&mut self) {
        self.writes = true;
        self.changes_schema = true;
    }

    fn authorize(&mut self, action: &AuthAction<'_>) -> Authorization {
        use AuthAction as A;
        let in_file = self.speaker == Speaker::File;
        let refused = match *action {
            A::Transaction { .. } | A::Savepoint { .. } => Some(Refusal::TransactionControl),
            A::Attach { .. } | A::Detach { .. } => Some(Refusal::Attach),
            A::Pragma {
                pragma_name,
                pragma_value,
            } => match Refusal::of_pragma(pragma_name, pragma_value, in_file) {
                None if in_file && pragma_name.eq_ignore_ascii_case("foreign_keys") => {
                    // A transaction, which the library has open here, ignores it.
                    return Authorization::Ignore;
                }
                refused => refused,
            },
            A::Read { .. } | A::Select | A::Function { .. } | A::Recursive => None,
            A::Insert { .. } | A::Update { .. } | A::Delete { .. } => {
                self.writes = true;
                None
            }
            A::CreateTable { table_name: name } | A::CreateView { view_name: name } => {
                self.changes_schema();
                Refusal::of_name(name)
            }
            _ => {
                self.changes_schema();
                None
            }
        };
        match refused {
            Some(refusal) if self.speaker != Speaker::Library => {
                self.refused = Some(refusal);
                Authorization::Deny
            }
            _ => Authorization::Allow,
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_to_end(statement: &mut Statement<'_>) -> rusqlite::Result<()> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// The table of `CREATE VIRTUAL TABLE [IF NOT EXISTS] [schema.]table USING`.
fn table_of(sql: &str) -> Option<String> {
    let using = places_of(sql, "using").next()?;
    let name = sql[..using].split_whitespace().next_back()?;
    let name = name.rsplit('.').next()?;
    Some(name.trim_matches(['"', '`', '[', ']', '\'']).to_owned())
}
