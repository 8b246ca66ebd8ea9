//! What is wrong with the statements of a body, or of a `sql!`.

use super::arguments::Given;
use super::database::{Database, Facts};
use super::excerpt::places_of;
use super::fault::{Fault, SEVERAL};
use super::scan::{Method, Statement};
use dbm_sql::{Refusal, statements};

/// Judges the statements of a body in their order; the tables that it makes are known to those behind, and are gone at its
/// end. With a fault comes the place of its statement.
pub(super) fn body(
    database: &mut Database,
    body: &[Statement],
    reads: bool,
) -> Vec<(usize, Fault)> {
    let judged = database.undone(|database| {
        let mut makes = false;
        let mut faults = Vec::new();
        for (place, statement) in body.iter().enumerate() {
            match judge(database, statement, reads) {
                Ok(made) => makes |= made,
                Err(fault) => faults.push((place, fault)),
            }
        }
        (makes, faults)
    });
    let Ok((makes, mut faults)) = judged else {
        return Vec::new();
    };
    // Which of its ways a body takes is not known: a statement may run before the others, and where one has removed or
    // changed a table, nothing is known of that.
    let changed: Vec<_> = body
        .iter()
        .map(|other| names_changed(&other.text.sql))
        .collect();
    faults.retain(|(place, _)| {
        let sql = &body[*place].text.sql;
        let mut others = changed
            .iter()
            .enumerate()
            .filter(|(other, _)| other != place);
        let is_changed = others.any(|(_, names)| {
            names
                .iter()
                .any(|name| places_of(sql, name).next().is_some())
        });
        let passes_alone = makes && {
            let alone = database.undone(|database| judge(database, &body[*place], reads));
            !matches!(alone, Ok(Err(_)))
        };
        !is_changed && !passes_alone
    });
    faults
}

/// What the statements of a text name that remove or change something.
fn names_changed(sql: &str) -> Vec<&str> {
    let begins = |sql: &str, word: &str| {
        sql.get(..word.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
    };
    let changes = statements(sql)
        .into_iter()
        .map(|range| &sql[range])
        .filter(|sql| begins(sql, "drop") || begins(sql, "alter"));
    changes
        .flat_map(|sql| sql.split(|sign: char| !(sign.is_alphanumeric() || sign == '_')))
        .filter(|word| !word.is_empty())
        .collect()
}

/// What is wrong with a text of which nothing is known but that it is SQL: not who says it, nor with which parameters.
pub(super) fn text(database: &mut Database, sql: &str) -> Option<Fault> {
    let judged = database.undone(|database| script(database, sql, false));
    judged.ok()?.err().filter(|fault| !fault.strict)
}

/// Whether a right statement has made or changed something in the schema.
fn judge(database: &mut Database, statement: &Statement, reads: bool) -> Result<bool, Fault> {
    let sql = &*statement.text.sql;
    if statement.method == Method::ExecuteBatch {
        return script(database, sql, true);
    }
    let facts = single(database, sql, true).map_err(|fault| match statement.method {
        Method::Execute if fault.message == SEVERAL => {
            Fault::new(format!("{SEVERAL}: write `execute_batch`"))
        }
        _ => fault,
    })?;
    if reads && facts.writes {
        return Err(Fault::refused(Refusal::Write));
    }
    if statement.method.asks() && facts.columns == 0 {
        return Err(Fault::new(
            "this statement gives no columns: write `execute`",
        ));
    }
    if let Some(given) = &statement.given {
        parameters(given, &facts, sql)?;
    }
    if let Some(wanted) = statement.columns
        && wanted != facts.columns
    {
        return Err(Fault::new(format!(
            "this statement gives {}, but the type has {wanted}",
            counted(facts.columns, "column"),
        )));
    }
    unknown(database, sql)?;
    if facts.changes_schema {
        let _ = database.run(sql);
    }
    Ok(facts.changes_schema)
}

/// Several statements, each after what the ones before it have made.
fn script(database: &mut Database, sql: &str, as_body: bool) -> Result<bool, Fault> {
    let mut makes = false;
    for range in statements(sql) {
        let (begin, one) = (range.start, &sql[range]);
        let moved = |fault: Fault| fault.after(begin);
        let facts = single(database, one, as_body).map_err(moved)?;
        unknown(database, one).map_err(moved)?;
        if facts.changes_schema {
            let _ = database.run(one);
            makes = true;
        }
    }
    Ok(makes)
}

fn single(database: &mut Database, sql: &str, as_body: bool) -> Result<Facts, Fault> {
    let fault = match database.facts(sql, as_body) {
        Ok(facts) => return Ok(facts),
        Err(fault) => fault,
    };
    let message = &*fault.message;
    let about_table = message.strip_prefix("no such table: ");
    let about_column = message.starts_with("no such column: ");
    let may_be_right = database.is_of_unknown_module(&fault, sql)
        || about_table.is_some_and(|table| is_a_function(sql, table) || table.starts_with("temp."))
        // A text in double quotes of a trigger or a view, which somebody has written long ago.
        || (about_column && !quotes(sql, message) && database.passes_with_quoted_texts(sql))
        // A stand-in is not what it stands for: it gathers no rows, it has no window.
        || (database.stub_in(sql).is_some()
            && !(about_table.is_some() || about_column || message.contains("syntax error")));
    Err(Fault {
        strict: fault.strict || may_be_right,
        ..fault
    })
}

/// What only the program can know of; it passes, unless a manager says that there is nothing of the kind.
fn unknown(database: &Database, sql: &str) -> Result<(), Fault> {
    database.stub_in(sql).map_or(Ok(()), Err)
}

/// Whether a name that is no table is called: `FROM series(1, 10)`, of a module of the program.
fn is_a_function(sql: &str, table: &str) -> bool {
    let name = table.rsplit('.').next().unwrap_or(table);
    places_of(sql, name).any(|place| {
        let before = sql[..place].trim_end().to_ascii_lowercase();
        let after = sql[place + name.len()..].trim_start();
        after.starts_with('(')
            && [",", "from", "join"]
                .iter()
                .any(|word| before.ends_with(word))
    })
}

/// Whether the column that a message is about stands in double quotes.
fn quotes(sql: &str, message: &str) -> bool {
    let name = message.split(" - should this be").next().unwrap_or(message);
    let name = name.rsplit(": ").next().unwrap_or(name);
    let name = name.trim_matches('"');
    sql.contains(&format!("\"{name}\""))
}

/// By the rules of `Params`: the statement and what it is given fit exactly.
fn parameters(given: &Given, facts: &Facts, sql: &str) -> Result<(), Fault> {
    let names = match given {
        Given::Positional(count) if *count == facts.parameters.len() => return Ok(()),
        Given::Positional(count) => {
            let takes = counted(facts.parameters.len(), "parameter");
            return Err(Fault::new(format!(
                "this statement takes {takes}, but {count} {} given",
                if *count == 1 { "is" } else { "are" }
            )));
        }
        Given::Named(names) => names,
    };
    let has = |name: &str| facts.parameters.iter().flatten().any(|known| known == name);
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            return Err(Fault::new(format!("parameter {name} is given twice")));
        }
        if !has(name) {
            return Err(Fault::new(format!("parameter {name} is not in the SQL")));
        }
    }
    let missing = facts.parameters.iter().enumerate();
    let mut missing =
        missing.filter(|(_, known)| known.as_ref().is_none_or(|known| !names.contains(known)));
    match missing.next() {
        None => Ok(()),
        Some((place, name)) => {
            let name = name.clone().unwrap_or_else(|| format!("?{}", place + 1));
            Err(Fault {
                offset: sql.find(&name),
                ..Fault::new(format!("parameter {name} has no value"))
            })
        }
    }
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        0 => format!("no {thing}"),
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}
