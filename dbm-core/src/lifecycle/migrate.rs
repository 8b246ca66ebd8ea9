//! An older database: a backup, `migrate_db`, and the new version. The last two are one transaction. A database that is
//! adopted gets the table `Version` in the same transaction, and is an older one from then on.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info;

use super::drift::Drift;
use super::foreign_keys::{foreign_keys, refuse_worse_than, set_foreign_keys};
use super::{in_transaction, tell, version_row};
use crate::call::site::Site;
use crate::engine::{Contents, Db, Engine, Session, back_up, contents, read_schema};
use crate::error::{Error, Result};
use crate::gate::Gate;
#[cfg(feature = "jobs")]
use crate::jobs::make_tables;
use crate::schema::Schema;
use crate::transaction::{NewHandle as _, WriteTransaction};
use crate::version::Version;

static SITE: Site = Site::new(module_path!(), "migrate_db").during_init();

/// False if another process was first.
pub(crate) async fn migrate<M: Schema + Send + Sync + 'static>(
    schema: &M,
    gate: &Gate,
    engine: &Arc<Engine>,
    target: &Version,
    drift: &Drift<M>,
) -> Result<bool> {
    set_foreign_keys(engine, false).await?;
    let migrated = in_transaction(gate, engine, &SITE, async |frame| {
        let found = Session::control(frame, |_, db| contents(&db.connection)).await??;
        let adopt = engine.opener.config.adopt.as_ref();
        let Some((from, is_foreign)) = start_of(found, adopt, target) else {
            return Ok(false);
        };
        save(engine, &from).await?;
        if is_foreign {
            version_row::create(frame, &from).await?;
            tell(|| info!(version = %from, "database adopted"));
        }
        #[cfg(feature = "jobs")]
        make_tables(frame).await?;
        if from < *target {
            let before = foreign_keys(frame).await?;
            let db = &mut WriteTransaction::new(Arc::clone(frame).into());
            run_hook(schema, db, &from, target, &engine.opener.path).await?;
            refuse_worse_than(&before, engine, frame).await?;
            tell(|| info!(%from, to = %target, "database migrated"));
        }
        if drift.is_error() {
            let read = |_: &Session, db: &mut Db| read_schema(&db.connection);
            let schema = Session::control_on_lane(frame, read).await?;
            drift.judge(engine, schema).await?;
        }
        Ok(true)
    })
    .await?;
    set_foreign_keys(engine, true).await?;
    Ok(migrated)
}

/// The version that a migration starts from, and whether it adopts the database as one of that version. `None` if there is
/// nothing to migrate any more.
pub(super) fn start_of(
    found: Contents,
    adopt: Option<&Version>,
    target: &Version,
) -> Option<(Version, bool)> {
    match (found, adopt) {
        (Contents::Version(stored), _) if stored < *target => Some((stored, false)),
        (Contents::Foreign, Some(version)) => Some((version.clone(), true)),
        _ => None,
    }
}

/// Runs `migrate_db`, and writes the version.
pub(super) async fn run_hook<M: Schema>(
    schema: &M,
    db: &mut WriteTransaction,
    from: &Version,
    to: &Version,
    path: &Path,
) -> Result<()> {
    tell(|| info!(%from, %to, "migrating the database"));
    if !schema.migrate_db(db, from, to).await? {
        return Err(Error::MigrationRefused {
            path: path.into(),
            from: from.clone().into(),
            to: to.clone().into(),
        });
    }
    version_row::update(db, to).await
}

/// Makes the backup, on the worker thread.
async fn save(engine: &Engine, version: &Version) -> Result<()> {
    let (sender, receiver) = oneshot::channel();
    let (opener, version) = (Arc::clone(&engine.opener), version.clone());
    let save = move || back_up(&opener, &version);
    let told = |result| drop(sender.send(result));
    engine.writer.conn.post(save, told)?;
    if let Some(path) = receiver.await.unwrap_or(Err(Error::HandleEnded))? {
        tell(|| info!(path = %path.display(), "database backed up"));
    }
    Ok(())
}
