//! `watch add`, `watch remove`, `watch list`

use super::status::{current_rules, tone};
use crate::app::App;
use crate::error::Result;
use crate::metric::{Kind, Metric};
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table};
use crate::span::rough;

pub(super) async fn add(app: &App, name: &str) -> Result<Reply> {
    let since = match app.store.add_watch(name, app.clock.now()).await? {
        true => "from the next reading on",
        false => "already",
    };
    Ok(Reply::line(format!("“{name}” is watched {since}.")))
}

pub(super) async fn remove(app: &App, name: &str) -> Result<Reply> {
    if !app.store.remove_watch(name).await? {
        refuse!("“{name}” is not watched. Type watch list to see what is.");
    }
    Ok(Reply::line(format!("“{name}” is watched no longer.")))
}

pub(super) async fn list(app: &App) -> Result<Reply> {
    let watches = app.store.watches().await?;
    let reply = Reply::with_data(&watches);
    if watches.is_empty() {
        return Ok(reply.text("No process is watched. Type watch add and its name."));
    }
    let (reading, rules) = (app.reading(), current_rules(app).await);
    let (alerts, _) = app.open_alerts().await;
    let mut table = Table::new([
        Left("process"),
        Left("state"),
        Right("cpu"),
        Right("memory"),
        Right("watched for"),
    ]);
    for watch in watches {
        let shown = |kind| {
            let metric = Metric::part(kind, &watch.name);
            reading.value(&metric).map(|value| metric.show(value))
        };
        let running = Metric::part(Kind::Process, &watch.name);
        let tone = reading
            .value(&running)
            .map(|value| tone(&rules, &alerts, &running, value));
        let state = shown(Kind::Process).unwrap_or_else(|| "not yet known".to_owned());
        table.row([
            watch.name.as_str().into(),
            Cell::toned(state, tone.unwrap_or_default()),
            shown(Kind::ProcessCpu).unwrap_or_default().into(),
            shown(Kind::ProcessMemory).unwrap_or_default().into(),
            rough(app.clock.now() - watch.added_at).into(),
        ]);
    }
    Ok(reply.table(table))
}
