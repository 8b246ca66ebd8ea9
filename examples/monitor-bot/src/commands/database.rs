//! `db version`

use dbm_core::prelude::*;
use serde_json::json;

use crate::app::App;
use crate::error::Result;
use crate::metric::bytes;
use crate::reply::{Reply, Side, Table};

pub(super) async fn version(app: &App) -> Result<Reply> {
    let schema = app.store.get_version().await?;
    let facts = app.store.facts().await?;
    let program = env!("CARGO_PKG_VERSION");
    let mut table = Table::new([("", Side::Left), ("", Side::Left)]);
    table.row(["schema".into(), schema.to_string().into()]);
    table.row(["program".into(), program.into()]);
    table.row(["SQLite".into(), facts.sqlite.as_str().into()]);
    table.row(["size".into(), bytes(facts.bytes as f64).into()]);
    table.row(["values".into(), facts.samples.to_string().into()]);
    let data = json!({ "schema": schema.to_string(), "program": program, "file": facts });
    Ok(Reply::with_data(data).table(table))
}
