//! Schema drift: a database of the right version whose schema is not what `init_db` makes.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tracing::warn;

use super::close::finish;
use super::foreign_keys::set_foreign_keys;
use super::{in_transaction, tell, version_row};
use crate::call::lease::{FileLease, Lease};
use crate::call::site::Site;
use crate::config::{Config, SchemaDrift};
use crate::database::Database;
use crate::engine::{Engine, SchemaDiff, SchemaDump, Session, read_schema};
use crate::error::{Error, Result};
use crate::gate::{CallToken, Check, ExpectedSchema, Gate};
#[cfg(feature = "jobs")]
use crate::job_board::JobBoard;
#[cfg(feature = "jobs")]
use crate::jobs::make_tables;
use crate::limited::limited;
use crate::manager_core::ManagerCore;
use crate::panicked::panicked;
use crate::schema::Schema;
#[cfg(feature = "remote")]
use crate::server::Server;
use crate::sync::lock;
use crate::transaction::{NewHandle as _, ReadTransaction, WriteTransaction};
use crate::version::Version;

static INIT: Site = Site::new(module_path!(), "init_db").during_init();
static READ: Site = Site::new(module_path!(), "schema_drift");

/// For this long after the start, the check leaves the machine to the first calls.
pub(super) const DELAY: Duration = Duration::from_millis(500);
/// The time limit for reading the schema that `init_db` makes, and that of the file.
const LIMIT: Duration = Duration::from_secs(10);

/// Compares a database with what `init_db` makes.
pub(super) struct Drift<M> {
    model: Model<M>,
    newest: Version,
    config: Config,
    reaction: SchemaDrift,
    /// The manager lists jobs, so `init_db` may enqueue some.
    #[cfg(feature = "jobs")]
    pub(super) jobs: bool,
}

/// The manager whose `init_db` runs.
pub(super) enum Model<M> {
    /// One made for this, so that what the manager keeps in memory is not touched.
    Another(fn(ManagerCore) -> M),
    Same(Weak<M>, Weak<Gate>),
}

impl<M> Model<M> {
    fn default_reaction(&self) -> SchemaDrift {
        match self {
            Self::Another(_) => SchemaDrift::Warn,
            Self::Same(..) => SchemaDrift::Ignore,
        }
    }
}

impl<M> Drift<M> {
    pub(super) fn new(model: Model<M>, newest: Version, config: &Config) -> Self {
        // `init_db` makes the newest version only.
        let is_newest = config
            .version
            .as_ref()
            .is_none_or(|version| *version == newest);
        Self {
            config: config.clone(),
            reaction: if is_newest && !config.is_on_server() {
                config.schema_drift.unwrap_or(model.default_reaction())
            } else {
                SchemaDrift::Ignore
            },
            model,
            newest,
            #[cfg(feature = "jobs")]
            jobs: false,
        }
    }
}

impl<M: Schema + Send + Sync + 'static> Drift<M> {
    /// Lets calls on this engine enqueue jobs, if the manager lists any.
    pub(super) fn set_jobs(&self, engine: &Engine) {
        #[cfg(feature = "jobs")]
        if !engine.reads_only()
            && let Some(board) = self.job_board()
        {
            let _ = engine.jobs.set(board);
        }
        #[cfg(not(feature = "jobs"))]
        let _ = engine;
    }

    /// The same on a server.
    #[cfg(feature = "remote")]
    pub(super) fn set_jobs_on(&self, server: &Server) {
        #[cfg(feature = "jobs")]
        if let Some(board) = self.job_board() {
            let _ = server.jobs.set(board);
        }
        #[cfg(not(feature = "jobs"))]
        let _ = server;
    }

    #[cfg(feature = "jobs")]
    fn job_board(&self) -> Option<Arc<JobBoard>> {
        self.jobs
            .then(|| Arc::new(JobBoard::new(TypeId::of::<M>())))
    }

    /// Before the manager runs, if drift is an error.
    pub(super) async fn check_before(&self, gate: &Gate, engine: &Arc<Engine>) -> Result<()> {
        if !self.is_error() {
            return Ok(());
        }
        let verdict = self.judge(engine, found(gate, engine, None).await).await;
        if verdict.is_err() && !engine.opener.config.read_only {
            // If a reader closed last, it would leave side files.
            let _ = engine.writer.conn.open_on_worker().await;
        }
        verdict
    }

    /// For those who compare while the manager runs. It does not keep the manager alive.
    pub(super) fn expected_schema(self: &Arc<Self>) -> Option<ExpectedSchema> {
        let (asks, drift) = (self.reaction != SchemaDrift::Ignore, Arc::clone(self));
        asks.then(|| -> ExpectedSchema {
            Box::new(move || {
                let drift = Arc::clone(&drift);
                Box::pin(async move { drift.expected().await })
            })
        })
    }

    /// The check while the manager runs, or when it is closed, if drift is a warning. It keeps neither the manager nor its
    /// connections alive.
    pub(super) fn into_check(self: Arc<Self>, gate: &Arc<Gate>) -> Option<Check> {
        let (warns, gate) = (self.reaction == SchemaDrift::Warn, Arc::downgrade(gate));
        warns.then(|| -> Check { Box::new(|token| Box::pin(self.check(gate, token))) })
    }

    /// `close` gives the token that keeps the connections open. Otherwise the manager may be closed meanwhile.
    async fn check(self: Arc<Self>, gate: Weak<Gate>, token: Option<CallToken<'static>>) {
        if token.is_some() && !is_first::<M>() {
            return;
        }
        let expected = self.expected().await;
        let Some(gate) = gate.upgrade() else { return };
        let token = token.or_else(|| gate.enter(READ.method).ok().map(CallToken::into_owned));
        if let (Some(Ok(Database::File(engine))), Some(token)) = (gate.answer(), token) {
            let found = found(&gate, engine, Some(token)).await;
            let _ = self.compare(engine, found, expected);
        }
    }

    pub(super) fn is_error(&self) -> bool {
        self.reaction == SchemaDrift::Error
    }

    /// Before the start or the migration is accepted.
    pub(super) async fn judge(&self, engine: &Engine, found: Result<SchemaDump>) -> Result<()> {
        let expected = self.expected().await;
        self.compare(engine, found, expected)
    }

    fn compare(
        &self,
        engine: &Engine,
        found: Result<SchemaDump>,
        expected: Result<SchemaDump>,
    ) -> Result<()> {
        let database = self.config.name();
        let (found, expected) = match (found, expected) {
            (Ok(found), Ok(expected)) => (found, expected),
            (Err(cause), _) | (_, Err(cause)) => {
                tell(|| {
                    warn!(database, %cause, "the schema could not be compared with what init_db makes");
                });
                return Ok(());
            }
        };
        let differences = found.compare(&expected).err();
        let Some(drift) = differences.and_then(SchemaDiff::drift) else {
            return Ok(());
        };
        if self.is_error() {
            return Err(Error::SchemaDrift {
                path: engine.opener.path.as_path().into(),
                version: self.newest.clone().into(),
                differences: drift.to_string(),
            });
        }
        tell(|| {
            warn!(database, version = %self.newest, differences = %drift, "the schema is not what init_db makes");
        });
        Ok(())
    }

    /// What `init_db` makes, in a database in memory.
    async fn expected(&self) -> Result<SchemaDump> {
        let (model, gate) = match &self.model {
            Model::Another(make) => {
                let core = ManagerCore::of(&self.config, finish);
                let gate = Arc::clone(core.gate());
                let made = catch_unwind(AssertUnwindSafe(|| Arc::new(make(core))));
                let made = made.map_err(|panic| panicked(INIT.method, &*panic))?;
                (Some(made), Some(gate))
            }
            Model::Same(manager, gate) => (manager.upgrade(), gate.upgrade()),
        };
        let (Some(model), Some(gate)) = (model, gate) else {
            return Err(Error::HandleEnded);
        };
        let engine = Engine::in_memory(gate.id, &self.config).await?;
        self.set_jobs(&engine);
        if M::__FROM_FILES {
            set_foreign_keys(&engine, false).await?;
        }
        let mut expected = Err(Error::HandleEnded);
        let making = in_transaction(&gate, &engine, &INIT, async |frame| {
            version_row::create(frame, &self.newest).await?;
            let db = &mut WriteTransaction::new(Arc::clone(frame).into());
            #[cfg(feature = "jobs")]
            make_tables(frame).await?;
            model.init_db(db).await?;
            expected = Session::control(frame, |_, db| read_schema(&db.connection)).await?;
            Ok(false)
        });
        limited(LIMIT, making).await.ok_or(Error::Timeout {
            method: INIT.method,
            limit: LIMIT,
        })??;
        expected
    }
}

/// Whether no manager of this type was checked at `close` before. The mistake is one of the program, so a process is told
/// once, and opening many files for a moment each costs nothing.
fn is_first<M: 'static>() -> bool {
    static CHECKED: Mutex<BTreeSet<TypeId>> = Mutex::new(BTreeSet::new());
    let mut checked = lock(&CHECKED);
    checked.insert(TypeId::of::<M>())
}

/// The schema of the database itself.
async fn found(
    gate: &Gate,
    engine: &Arc<Engine>,
    token: Option<CallToken<'_>>,
) -> Result<SchemaDump> {
    let lease = FileLease::read(gate, engine, &READ, token).await?;
    let mut lease = Lease::File(lease);
    let mut db = ReadTransaction::new(lease.frame());
    let schema = limited(LIMIT, db.call(read_schema)).await;
    lease.keep(&READ).await?;
    schema.unwrap_or(Err(Error::Timeout {
        method: READ.method,
        limit: LIMIT,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_was_given_its_fields_is_not_asked_unless_one_wishes() {
        assert_eq!(Model::Another(|_| ()).default_reaction(), SchemaDrift::Warn);
        assert_eq!(
            Model::<()>::Same(Weak::new(), Weak::new()).default_reaction(),
            SchemaDrift::Ignore
        );
    }
}
