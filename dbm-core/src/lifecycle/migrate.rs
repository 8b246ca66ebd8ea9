//! An older database: backup, `migrate_db` and the new version, all or nothing.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info;

use super::drift::Drift;
use super::{in_transaction, tell, version_row};
use crate::call::site::Site;
use crate::engine::{Contents, Engine, back_up, contents, foreign_key_violations, read_schema};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::schema::Schema;
use crate::transaction::{NewHandle as _, WriteTransaction};
use crate::version::Version;

static SITE: Site = Site::new(module_path!(), "migrate_db").during_init();

/// False when another process was first.
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
        let before = frame
            .session
            .control(|db| foreign_key_violations(&db.connection))
            .await??;
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
        let after = frame
            .session
            .control(|db| foreign_key_violations(&db.connection))
            .await??;
        for ((child, parent), count) in after {
            let known = before
                .get(&(child.clone(), parent.clone()))
                .copied()
                .unwrap_or(0);
            if count > known {
                return Err(Error::ForeignKeys {
                    child,
                    parent,
                    count: count - known,
                });
            }
        }
        let found = frame
            .session
            .control(|db| read_schema(&db.connection))
            .await?;
        drift.judge(found).await?;
        tell(|| info!(from = %stored, to = %target, "database migrated"));
        Ok(true)
    })
    .await?;
    set_foreign_keys(engine, true).await?;
    Ok(migrated)
}

/// The setting is ignored inside a transaction, and with it on, rebuilding a parent table would delete its children.
async fn set_foreign_keys(engine: &Engine, on: bool) -> Result<()> {
    let (sender, receiver) = oneshot::channel();
    let conn = Arc::clone(&engine.writer.conn);
    let set = move || {
        let value = if on { "ON" } else { "OFF" };
        conn.lock().db().map_or(Err(Error::HandleEnded), |db| {
            Ok(db
                .connection
                .execute_batch(&format!("PRAGMA foreign_keys = {value}"))?)
        })
    };
    let told = |result| drop(sender.send(result));
    engine.writer.conn.post(set, told)?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
}

/// Copies the committed state away, on a thread.
async fn save(engine: &Engine, version: &Version) -> Result<()> {
    let (sender, receiver) = oneshot::channel();
    let (opener, version) = (Arc::clone(&engine.opener), version.clone());
    let save = move || back_up(&opener.path, &opener.config, &version);
    let told = |result| drop(sender.send(result));
    engine.writer.conn.post(save, told)?;
    if let Some(path) = receiver.await.unwrap_or(Err(Error::HandleEnded))? {
        tell(|| info!(path = %path.display(), "database backed up"));
    }
    Ok(())
}
