//! `db version`, `db check`, `db backup`

use dbm_core::prelude::*;
use serde_json::json;

use crate::app::App;
use crate::error::Result;
use crate::metric::bytes;
use crate::reply::Column::Left;
use crate::reply::{Cell, Reply, Table, Tone};

pub(super) async fn version(app: &App) -> Result<Reply> {
    let schema = app.store.get_version().await?;
    let facts = app.store.facts().await?;
    let program = env!("CARGO_PKG_VERSION");
    let mut table = Table::new([Left(""), Left("")]);
    table.row(["schema".into(), schema.to_string().into()]);
    table.row(["program".into(), program.into()]);
    table.row([facts.system.into(), facts.version.as_str().into()]);
    table.row(["size".into(), bytes(facts.bytes as f64).into()]);
    table.row(["readings".into(), facts.readings.to_string().into()]);
    let unsent = app.store.undelivered().await?;
    if let Some(newest) = unsent.first() {
        let text = format!("{}, at last: {}", unsent.len(), newest.cause);
        table.row(["messages not sent".into(), Cell::toned(text, Tone::Bad)]);
    }
    let data = json!({ "schema": schema.to_string(), "program": program, "file": facts, "unsent": unsent.len() });
    Ok(Reply::with_data(data).table(table))
}

pub(super) async fn check(app: &App) -> Result<Reply> {
    if app.store.is_shared() {
        refuse!(
            "The database is on a server, and looking after its pages is the server's: pg_amcheck does that."
        );
    }
    let found = app.store.verify().await?;
    if !found.is_sound() {
        let found = found.to_string().replace('\n', "; ");
        refuse!("The database is damaged: {found}.");
    }
    let sound = "The database is sound: every page and every reference was looked at.";
    Ok(Reply::with_data(json!({ "faults": [] })).toned(sound, Tone::Good))
}

pub(super) async fn backup(app: &App) -> Result<Reply> {
    if app.store.is_shared() {
        refuse!("The database is on a server: a copy of it is made there, with pg_dump.");
    }
    let Some(data) = &app.data_dir else {
        refuse!("These data are gone at the end anyway: start with --data-dir to keep them.");
    };
    let folder = data.join("backups");
    let unusable =
        |error: std::io::Error| refused!("{} cannot be used: {error}.", folder.display());
    std::fs::create_dir_all(&folder).map_err(unusable)?;
    let file = folder.join(app.clock.show(app.clock.now(), "monitor-%Y%m%d-%H%M%S.db"));
    let made = app.store.back_up(&file).await;
    made.map_err(|error| refused!("No copy was made. {error}."))?;
    let size = std::fs::metadata(&file).map_err(unusable)?.len();
    let text = format!("Copied to {}, {}.", file.display(), bytes(size as f64));
    Ok(Reply::with_data(json!({ "file": file, "bytes": size })).text(text))
}
