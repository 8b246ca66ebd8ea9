//! Foreign keys, on or off: a setting of the writer's connection.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// The setting is ignored inside a transaction, and with it on, rebuilding a parent table would delete its children.
pub(super) async fn set_foreign_keys(engine: &Engine, on: bool) -> Result<()> {
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
