//! `admin add`, `admin remove`, `admin list`

use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table, Tone};
use crate::span::rough;

pub(super) async fn add(app: &App, caller: &Caller, id: &str) -> Result<Reply> {
    let when = match app.store.add_admin(id, &caller.id, app.clock.now()).await? {
        true => "may change things now",
        false => "could change things already",
    };
    Ok(Reply::line(format!("“{id}” {when}.")))
}

pub(super) async fn remove(app: &App, id: &str) -> Result<Reply> {
    if !app.store.remove_admin(id).await? {
        refuse!("“{id}” is no admin. Type admin list to see who is.");
    }
    Ok(Reply::line(format!("“{id}” may change nothing any more.")))
}

pub(super) async fn list(app: &App) -> Result<Reply> {
    let admins = app.store.admins().await?;
    let reply = Reply::with_data(&admins);
    if admins.is_empty() {
        return Ok(
            reply.text("There is no admin: only this machine's own console can change something.")
        );
    }
    let mut table = Table::new([Left("admin"), Left("added by"), Right("ago")]);
    for admin in admins {
        table.row([
            admin.id.into(),
            Cell::toned(admin.added_by, Tone::Dim),
            Cell::toned(rough(app.clock.now() - admin.added_at), Tone::Dim),
        ]);
    }
    Ok(reply.table(table))
}
