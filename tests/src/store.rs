//! A manager to test with: notes, and hooks that a test can replace.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use dbm_core::prelude::*;
use tokio::sync::Notify;

/// What a hook returns.
pub type Hook<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What a test puts in the place of the hooks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hooks {
    /// Runs in `init_db`, after its table was made.
    pub init: Option<for<'a> fn(&'a Store, &'a mut WriteTransaction) -> Hook<'a, ()>>,
    /// Runs in `migrate_db`.
    pub migrate: Option<for<'a> fn(&'a Store, &'a mut WriteTransaction) -> Hook<'a, bool>>,
}

/// Notes, by number.
#[derive(DbManager, Debug)]
#[db_manager(version = "1.0.0")]
pub struct Store {
    core: ManagerCore,
    hooks: Hooks,
    /// The hooks that were called, in order.
    calls: Mutex<Vec<String>>,
    arrived: Notify,
    go_on: Notify,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        self.called("init_db".to_owned());
        db.execute_batch("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
            .await?;
        match self.hooks.init {
            Some(hook) => hook(self, db).await,
            None => Ok(()),
        }
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        current: &Version,
        target: &Version,
    ) -> Result<bool> {
        self.called(format!("migrate_db({current}, {target})"));
        match self.hooks.migrate {
            Some(hook) => hook(self, db).await,
            None => Ok(true),
        }
    }
}

impl Store {
    /// Starts with hooks of the test's own.
    #[must_use]
    pub fn start_hooked(config: Config, hooks: Hooks) -> Arc<Self> {
        Self::start_with(config, |core| Self::new(core, hooks))
    }

    /// Starts with hooks of the test's own, and waits.
    ///
    /// # Errors
    ///
    /// Why start-up failed.
    pub async fn create_hooked(config: Config, hooks: Hooks) -> Result<Arc<Self>> {
        Self::create_with(config, |core| Self::new(core, hooks)).await
    }

    fn new(core: ManagerCore, hooks: Hooks) -> Self {
        Self {
            core,
            hooks,
            calls: Mutex::default(),
            arrived: Notify::new(),
            go_on: Notify::new(),
        }
    }

    /// For a hook: waits here until the test says [`go_on`](Self::go_on).
    pub async fn pause(&self) {
        self.arrived.notify_one();
        self.go_on.notified().await;
    }

    /// For the test: waits until a hook is at [`pause`](Self::pause).
    pub async fn paused(&self) {
        crate::within(self.arrived.notified()).await;
    }

    /// Lets the hook go on.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }

    /// Opens a database in this directory at a version, and waits.
    ///
    /// # Errors
    ///
    /// Why start-up failed, or that this is no version.
    pub async fn open(directory: &Path, version: &str) -> Result<Arc<Self>> {
        let version = Version::parse(version).map_err(Error::other)?;
        Self::create_hooked(Config::new(directory).version(version), Hooks::default()).await
    }

    /// Makes a database in this directory at a version, with note 1, and closes it.
    ///
    /// # Errors
    ///
    /// Any of these.
    pub async fn make(directory: &Path, version: &str) -> Result<()> {
        let store = Self::open(directory, version).await?;
        store.add(1, "one").await?;
        store.close().await
    }

    /// The hooks that were called, in order, as the reference prints them.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn called(&self, what: String) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Adds a note.
    ///
    /// # Errors
    ///
    /// When there is one with this number.
    #[database_safe]
    pub async fn add(&self, db: &mut WriteTransaction, id: i64, text: &str) -> Result<()> {
        db.execute("INSERT INTO note (id, text) VALUES (?1, ?2)", (id, text))
            .await?;
        Ok(())
    }

    /// The numbers of all notes, in order.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn ids(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT id FROM note ORDER BY id", ()).await
    }

    /// Runs any SQL that writes.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn write(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    /// The one value that a query finds.
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[database_safe]
    pub async fn number(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }
}
