//! An older database: a backup, `migrate_db`, and the new version. The last two are one transaction.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info;

use super::drift::Drift;
use super::foreign_keys::{foreign_keys, set_foreign_keys};
use super::{in_transaction, tell, version_row};
use crate::call::site::Site;
use crate::engine::{Contents, Db, Engine, back_up, contents, read_schema};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::schema::Schema;
use crate::transaction::{NewHandle as _, WriteTransaction};
use crate::version::Version;

static SITE: Site = Site::new(module_path!(), "migrate_db").during_init();

/// False if another process was first.
pub(crate) async fn migrate<M: Schema>(
    schema: &M,
    gate: &Gate,
    engine: &Arc<Engine>,
    target: &Version,
    drift: &Drift<M>,
) -> Result<bool> {
    set_foreign_keys(engine, false).await?;
    let migrated = in_transaction(gate, engine, &SITE, async |frame| {
        let stored = match frame
            .session
            .control(|db| contents(&db.connection))
            .await??
        {
            Contents::Version(stored) if stored < *target => stored,
            _ => return Ok(false),
        };
        let before = foreign_keys(frame).await?;
        save(engine, &stored).await?;
        let db = &mut WriteTransaction::new(Arc::clone(frame));
        tell(|| info!(from = %stored, to = %target, "migrating the database"));
        if !schema.migrate_db(db, &stored, target).await? {
            return Err(Error::MigrationRefused {
                from: stored,
                to: target.clone(),
            });
        }
        version_row::update(db, target).await?;
        if let Some(violation) = foreign_keys(frame).await?.worse_than(&before) {
            return Err(Error::ForeignKeys {
                child: violation.child,
                parent: violation.parent,
                count: violation.count,
            });
        }
        if drift.is_error() {
            let read = |db: &mut Db| read_schema(&db.connection);
            drift
                .judge(frame.session.control_on_lane(read).await?)
                .await?;
        }
        tell(|| info!(from = %stored, to = %target, "database migrated"));
        Ok(true)
    })
    .await?;
    set_foreign_keys(engine, true).await?;
    Ok(migrated)
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
