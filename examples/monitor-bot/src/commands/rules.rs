//! `rule add`, `rule remove`, `rule list`

use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Reply, Table, Tone};
use crate::rules::Rule;
use crate::span::rough;

pub(super) async fn add(app: &App, caller: &Caller, rule: &Rule) -> Result<Reply> {
    let (id, new) = app
        .store
        .add_rule(rule, &caller.id, app.clock.now())
        .await?;
    let known = if new { "" } else { " It was there already." };
    Ok(Reply::line(format!("Rule {id}: {rule}.{known}")))
}

pub(super) async fn remove(app: &App, id: Option<i64>, rule: Option<&Rule>) -> Result<Reply> {
    let Some(removed) = app.store.remove_rule(id, rule).await? else {
        refuse!("There is no such rule. Type rule list to see them.");
    };
    let (id, rule) = (removed.id, removed.text);
    Ok(Reply::line(format!("Rule {id} is removed: {rule}.")))
}

pub(super) async fn list(app: &App) -> Result<Reply> {
    let rules = app.store.rules().await?;
    let reply = Reply::with_data(&rules);
    if rules.is_empty() {
        return Ok(reply.text("There is no rule. Type rule add \"memory > 85 for 30s\"."));
    }
    let mut table = Table::new([Right("id"), Left("rule"), Left("added by"), Right("ago")]);
    for rule in rules {
        table.row([
            rule.id.to_string().into(),
            rule.text.into(),
            Cell::toned(rule.added_by, Tone::Dim),
            Cell::toned(rough(app.clock.now() - rule.added_at), Tone::Dim),
        ]);
    }
    Ok(reply.table(table))
}
