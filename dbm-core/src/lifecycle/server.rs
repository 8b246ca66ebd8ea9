//! The start of a manager whose database is on a server, and its end.
//!
//! Other processes may start at the same time, and not all of them need be of the same version. So what has to be done is
//! decided in the transaction that does it, which is the only writer.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::close::stopped;
use super::create::check_made;
use super::drift::Drift;
use super::migrate::{run_hook, start_of};
use super::prepare::{Step, step_for};
use super::{commit_if, tell, unless_given_up, version_row};
use crate::call::lease::{Lease, ServerLease};
use crate::call::site::Site;
use crate::config::Config;
use crate::database::Database;
use crate::engine::{Access, Contents};
use crate::error::{Error, Result};
use crate::frame::{AnyFrame, Frame};
use crate::gate::Gate;
#[cfg(feature = "jobs")]
use crate::jobs;
use crate::params::Params as _;
use crate::remote::{self, Backend};
use crate::schema::Schema;
use crate::server::{Server, ServerSession};
use crate::transaction::{NewHandle as _, ReadTransaction, WriteTransaction};
use crate::version::{self, Version};

static LOOK: Site = Site::new(module_path!(), "start").during_init();
static INIT: Site = Site::new(module_path!(), "init_db").during_init();
static MIGRATE: Site = Site::new(module_path!(), "migrate_db").during_init();

/// How often start-up looks again after another process has changed the database meanwhile.
const ATTEMPTS: usize = 10;

pub(super) async fn start_up<M: Schema + Send + Sync + 'static>(
    manager: &M,
    required: &Version,
    config: &Config,
    backend: &dyn Backend,
    gate: &Arc<Gate>,
    drift: &Drift<M>,
) -> Result<(Database, Step)> {
    config.check_for_server()?;
    if let Some(version) = &config.adopt {
        version::to_row(version)?;
    }
    let start = async {
        let remote = backend.connect(config.limits()).await?;
        let (server, told) = Server::new(remote, config, Arc::clone(&gate.live));
        let admits: Weak<Gate> = Arc::downgrade(gate);
        server.after_commit.run_for(gate.id, admits);
        drift.set_jobs_on(&server);
        let start = Starting {
            gate,
            server: &server,
            adopt: config.adopt.as_ref(),
            required,
        };
        match start.make_ready(manager).await {
            Ok(step) => Ok((server, told, step)),
            Err(error) => {
                // A failed start must have closed its connections before any caller learns of the failure.
                let _ = server.close().await;
                Err(error.at(Path::new(&*server.name)))
            }
        }
    };
    let (server, told, step) = unless_given_up(gate, start).await?;
    let closing = close_when_told(Arc::clone(&server), told, Arc::downgrade(gate));
    tokio::spawn(closing);
    Ok((Database::Server(server), step))
}

/// Closes the connections once the last call has left after `close`. Until then it looks for the commits of other processes.
async fn close_when_told(server: Arc<Server>, told: oneshot::Receiver<()>, gate: Weak<Gate>) {
    {
        let (mut told, mut looks) = (pin!(told), pin!(server.look_for_commits()));
        poll_fn(|context| {
            let _ = looks.as_mut().poll(context);
            told.as_mut().poll(context).map(drop)
        })
        .await;
    }
    // Also if the runtime ends meanwhile, and the connections with it.
    let _ends = StoppedOnDrop(gate);
    if let Err(cause) = server.close().await {
        tell(|| warn!(database = %server.name, %cause, "the connections were not closed"));
    }
}

struct StoppedOnDrop(Weak<Gate>);

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        if let Some(gate) = self.0.upgrade() {
            stopped(&gate);
        }
    }
}

/// A start under way, on a server that is connected.
struct Starting<'a> {
    gate: &'a Gate,
    server: &'a Arc<Server>,
    adopt: Option<&'a Version>,
    required: &'a Version,
}

impl Starting<'_> {
    async fn make_ready<M: Schema>(&self, manager: &M) -> Result<Step> {
        for _ in 0..ATTEMPTS {
            let mut lease = self.lease(&LOOK, Access::Read).await?;
            let found = look(&lease.frame).await;
            lease.end(false).await?;
            let step = self.step_for(found?)?;
            let done = match step {
                Step::Nothing => self.make_job_tables().await?,
                Step::Create => self.create(manager).await?,
                Step::Migrate => self.migrate(manager).await?,
            };
            if done {
                return Ok(step);
            }
        }
        Err(Error::other("the database kept changing during start-up"))
    }

    async fn lease(&self, site: &'static Site, access: Access) -> Result<ServerLease<'static>> {
        ServerLease::acquire(self.gate, self.server, site, access, None, true).await
    }

    fn step_for(&self, found: Contents) -> Result<Step> {
        step_for(
            found,
            Path::new(&*self.server.name),
            self.adopt,
            self.required,
        )
    }

    /// False if another process was first.
    async fn create<M: Schema>(&self, manager: &M) -> Result<bool> {
        let lease = self.lease(&INIT, Access::Write).await?;
        let frame = Arc::clone(&lease.frame);
        commit_if(Lease::Server(lease), &INIT, async || {
            if look(&frame).await? != Contents::Nothing {
                return Ok(false);
            }
            self.make_version_table(&frame, self.required).await?;
            #[cfg(feature = "jobs")]
            jobs::make_tables_on_server(&frame).await?;
            let db = &mut WriteTransaction::new(AnyFrame::Server(Arc::clone(&frame)));
            manager.init_db(db).await?;
            check_made(&look(&frame).await?, self.required).map(|()| true)
        })
        .await
    }

    /// False if another process was first.
    async fn migrate<M: Schema>(&self, manager: &M) -> Result<bool> {
        let lease = self.lease(&MIGRATE, Access::Write).await?;
        let frame = Arc::clone(&lease.frame);
        commit_if(Lease::Server(lease), &MIGRATE, async || {
            let found = look(&frame).await?;
            let Some((from, is_foreign)) = start_of(found, self.adopt, self.required) else {
                return Ok(false);
            };
            if is_foreign {
                self.make_version_table(&frame, &from).await?;
                tell(|| info!(version = %from, "database adopted"));
            }
            #[cfg(feature = "jobs")]
            jobs::make_tables_on_server(&frame).await?;
            if from < *self.required {
                tell(|| info!("no backup is made before the migration: that is up to the server's own tools"));
                let db = &mut WriteTransaction::new(AnyFrame::Server(Arc::clone(&frame)));
                run_hook(manager, db, &from, self.required, Path::new(&*self.server.name)).await?;
                tell(|| info!(%from, to = %self.required, "database migrated"));
            }
            Ok(true)
        })
        .await
    }

    /// A database that needs no other step may be without the tables of jobs.
    async fn make_job_tables(&self) -> Result<bool> {
        #[cfg(feature = "jobs")]
        if let Some(board) = self.server.jobs.get() {
            let mut lease = self.lease(&LOOK, Access::Read).await?;
            let are_missing = jobs::are_missing_on_server(board, &lease.frame).await;
            lease.end(false).await?;
            if are_missing? {
                let lease = self.lease(&LOOK, Access::Write).await?;
                let frame = Arc::clone(&lease.frame);
                let make = async || jobs::make_tables_on_server(&frame).await.map(|()| true);
                return commit_if(Lease::Server(lease), &LOOK, make).await;
            }
        }
        Ok(true)
    }

    /// The library's own work: a body may not create a table of this name.
    async fn make_version_table(
        &self,
        frame: &Frame<ServerSession>,
        version: &Version,
    ) -> Result<()> {
        let (session, row) = (frame.session(), version::to_row(version)?.into_params()?);
        session.script(self.server.remote.version_table()).await?;
        session.run(version_row::INSERT, &row).await?;
        Ok(())
    }
}

/// What the database holds, with its version.
async fn look(frame: &Arc<Frame<ServerSession>>) -> Result<Contents> {
    match frame.session().look().await? {
        remote::Contents::Nothing => Ok(Contents::Nothing),
        remote::Contents::Foreign => Ok(Contents::Foreign),
        remote::Contents::Versioned => {
            let db = &mut ReadTransaction::new(AnyFrame::Server(Arc::clone(frame)));
            version_row::read(db).await.map(Contents::Version)
        }
    }
}
