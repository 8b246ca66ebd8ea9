//! A schema made of files. Each file leads from the version before it to the version in its name.

use std::pin::Pin;

use dbm_sql::{Fault, Part};

use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::transaction::WriteTransaction;
use crate::version::{self, Version};

/// One step to a version: its file, and the part that only Rust can do afterwards.
#[derive(Debug)]
pub struct Step<M> {
    version: Version,
    sql: &'static str,
    /// The same step for another kind of database, by the name of the system.
    elsewhere: Option<(&'static str, &'static str)>,
    after: Option<After<M>>,
}

type After<M> = for<'a> fn(
    &'a M,
    &'a mut WriteTransaction,
) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

impl<M> Step<M> {
    /// A step that is a file alone.
    #[must_use]
    pub const fn new(version: Version, sql: &'static str) -> Self {
        Self {
            version,
            sql,
            elsewhere: None,
            after: None,
        }
    }

    /// A step whose file is followed by a Rust function, in the same transaction and before the next step.
    #[must_use]
    pub const fn with(version: Version, sql: &'static str, after: After<M>) -> Self {
        Self {
            version,
            sql,
            elsewhere: None,
            after: Some(after),
        }
    }

    /// The same step, with another file for this kind of database.
    #[must_use]
    pub const fn on(mut self, system: &'static str, sql: &'static str) -> Self {
        self.elsewhere = Some((system, sql));
        self
    }

    async fn run(&self, manager: &M, db: &mut WriteTransaction) -> Result<()> {
        match self.elsewhere {
            Some((system, sql)) if system == db.system() => db.execute_batch(sql).await?,
            _ => self.run_file(db).await?,
        }
        match self.after {
            Some(after) => after(manager, db).await,
            None => Ok(()),
        }
    }

    async fn run_file(&self, db: &mut WriteTransaction) -> Result<()> {
        for (_, part) in dbm_sql::parts(self.sql).map_err(unreadable)? {
            match part {
                Part::Plain(sql) => db.execute_batch(sql).await?,
                Part::Rebuild(rebuild) => db.call(move |db| rebuild.run(db).map_err(lost)).await?,
            }
        }
        Ok(())
    }
}

fn unreadable((_, message): (usize, String)) -> Error {
    Error::other(message)
}

fn lost(fault: Fault) -> Error {
    match fault {
        Fault::Sqlite(error) => error.into(),
        lost @ Fault::Lost(_) => Error::other(lost),
    }
}

/// The schema files of a manager, as found by the derive.
pub trait Files: Schema + Sized + 'static {
    /// In ascending order of version.
    const STEPS: &'static [Step<Self>];
}

/// `init_db` of a manager with files: runs every step up to the required version, which the table `Version` already
/// holds.
///
/// # Errors
///
/// [`Error::Config`] if the required version is older than the first file; otherwise the error of a step.
pub async fn create<M: Files>(manager: &M, db: &mut WriteTransaction) -> Result<()> {
    let (major, minor, patch) = db
        .query_one("SELECT major, minor, patch FROM Version", ())
        .await?;
    let target = version::from_row(major, minor, patch)?;
    if let Some(base) = M::STEPS.first()
        && target < base.version
    {
        return Err(Error::Config {
            message: format!(
                "version {target} cannot be made: the first file of the schema is {}.sql",
                base.version
            ),
        });
    }
    for step in M::STEPS.iter().filter(|step| step.version <= target) {
        step.run(manager, db).await?;
    }
    Ok(())
}

/// `migrate_db` of a manager with files. Refuses a database older than the first file, because the steps before it no
/// longer exist.
///
/// # Errors
///
/// The error of a step.
pub async fn migrate<M: Files>(
    manager: &M,
    db: &mut WriteTransaction,
    current: &Version,
    target: &Version,
) -> Result<bool> {
    if M::STEPS.first().is_some_and(|base| *current < base.version) {
        return Ok(false);
    }
    let missing = |step: &&Step<M>| *current < step.version && step.version <= *target;
    for step in M::STEPS.iter().filter(missing) {
        step.run(manager, db).await?;
    }
    Ok(true)
}
