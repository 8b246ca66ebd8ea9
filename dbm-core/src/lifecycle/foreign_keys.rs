//! Foreign keys while a migration runs, or the files of a new database: off, and what they are judged by.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{Db, Engine, ForeignKeys, Session};
use crate::error::{Error, Result};
use crate::frame::Frame;

pub(super) async fn foreign_keys(frame: &Arc<Frame>) -> Result<ForeignKeys> {
    let read = |_: &Session, db: &mut Db| ForeignKeys::read(&db.connection);
    Session::control_on_lane(frame, read).await?
}

/// Fails if a key is at fault, or a row has no parent, that was not so before.
pub(super) async fn refuse_worse_than(
    before: &ForeignKeys,
    engine: &Engine,
    frame: &Arc<Frame>,
) -> Result<()> {
    match foreign_keys(frame).await?.worse_than(before) {
        None => Ok(()),
        Some(violation) => Err(Error::ForeignKeys {
            path: engine.opener.path.as_path().into(),
            child: violation.child.into(),
            parent: violation.parent.into(),
            count: violation.count,
        }),
    }
}

/// The setting is ignored inside a transaction, and with it on, rebuilding a parent table would delete its children.
pub(super) async fn set_foreign_keys(engine: &Engine, on: bool) -> Result<()> {
    let (sender, receiver) = oneshot::channel();
    let conn = Arc::clone(&engine.writer.conn);
    let set = move || {
        conn.lock().db().map_or(Err(Error::HandleEnded), |db| {
            db.connection.execute_batch(if on {
                "PRAGMA foreign_keys = ON; PRAGMA legacy_alter_table = OFF"
            } else {
                "PRAGMA foreign_keys = OFF"
            })?;
            db.guard.set_migrating(!on);
            Ok(())
        })
    };
    let told = |result| drop(sender.send(result));
    engine.writer.conn.post(set, told)?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
}
