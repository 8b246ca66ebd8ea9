//! Which of SQLite's words an error may show: names of schema objects, and messages that never vary.
//!
//! SQLite quotes what it was working on: tokens of the SQL with their literals, and values that were bound
//! (`json_extract(doc, ?1)`, `MATCH ?1`). So a message is left out unless it is known to be free of them.

use rusqlite::ffi;

/// What SQLite was doing when it reported the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was compiling a statement. No value is bound at that time, so a name comes from the text.
    Text,
    /// It was running a statement. A name may be a value that was bound.
    Run,
    /// Not recorded: a closure of `call` used the connection.
    Unknown,
}

/// Messages about the schema. `{}` stands for a name, shown if it looks like one. `*` stands for text that is never
/// shown.
const ABOUT_NAMES: &[&str] = &[
    "no such table: {}",
    "no such view: {}",
    "no such index: {}",
    "no such trigger: {}",
    "no such module: {}",
    "no such collation sequence: {}",
    "unknown database {}",
    "ambiguous column name: {}",
    "table {} has no column named {}",
    "table {} has {} columns but {} values were supplied",
    "{} values for {} columns",
    "sub-select returns {} columns - expected {}",
    "duplicate column name: {}",
    "table {} already exists",
    "view {} already exists",
    "index {} already exists",
    "trigger {} already exists",
    "there is already a table named {}",
    "there is already an index named {}",
    "object name reserved for internal use: {}",
    "table {} may not be modified",
    "table {} may not be dropped",
    "cannot modify {} because it is a view",
    "use DROP TABLE to delete table {}",
    "use DROP VIEW to delete view {}",
    "missing datatype for {}",
    "unknown datatype for {}: \"*\"",
    "cannot INSERT into generated column \"{}\"",
    "cannot UPDATE generated column \"{}\"",
    "foreign key mismatch - \"{}\" referencing \"{}\"",
    "unknown column \"{}\" in foreign key definition",
    "wrong number of arguments to function {}()",
    "misuse of aggregate: {}()",
    "misuse of aggregate function {}()",
    "misuse of window function {}()",
    "unsafe use of {}()",
    "near \"*\": syntax error",
    "unrecognized token: \"*\"",
    "unrecognized token: *",
];

/// These are also said of values: FTS5 uses them for a column or a ranking function that a query names.
const ABOUT_NAMES_OR_VALUES: &[&str] = &["no such column: {}", "no such function: {}"];

/// Messages of a running statement.
const ABOUT_VALUES: &[&str] = &[
    "bad JSON path: *",
    "fts5: syntax error near \"*\"",
    "malformed MATCH expression: *",
    "unknown special query: *",
];

/// Messages that never vary.
const FIXED: &[&str] = &[
    "FOREIGN KEY constraint failed",
    "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
    "cannot VACUUM from within a transaction",
    "datatype mismatch",
    "incomplete input",
    "integer overflow",
    "malformed JSON",
    "row value misused",
    "too many SQL variables",
    "unterminated string",
];

/// The messages of a violated constraint come from the schema, but other errors may use the same code. The text of a
/// CHECK is shown unless it contains a string literal.
fn constraint(extended_code: i32) -> &'static [&'static str] {
    match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => &[
            "UNIQUE constraint failed: index '{}'",
            "UNIQUE constraint failed: {}",
        ],
        ffi::SQLITE_CONSTRAINT_NOTNULL => &["NOT NULL constraint failed: {}"],
        ffi::SQLITE_CONSTRAINT_CHECK => &["CHECK constraint failed: {}"],
        ffi::SQLITE_CONSTRAINT_DATATYPE => &["cannot store {} value in {} column {}"],
        _ => &[],
    }
}

/// The part of SQLite's words that may be shown, with `…` for the rest. `None` if nothing may be shown.
pub(super) fn shown(code: &ffi::Error, words: &str, origin: Origin) -> Option<String> {
    let extended = code.extended_code;
    let is_general = [extended, extended & 0xff]
        .iter()
        .any(|code| ffi::code_to_str(*code) == words);
    if is_general || FIXED.contains(&words) {
        return Some(words.to_owned());
    }
    let written = |templates: &[&str], shown: &dyn Fn(&str) -> bool| {
        templates
            .iter()
            .find_map(|template| fill(template, words, shown))
    };
    if extended != ffi::SQLITE_ERROR {
        return written(constraint(extended), &is_of_a_schema);
    }
    let names = |name: &str| origin != Origin::Run && is_name(name);
    let names_of_text = |name: &str| origin == Origin::Text && is_name(name);
    written(ABOUT_NAMES, &names)
        .or_else(|| written(ABOUT_NAMES_OR_VALUES, &names_of_text))
        .or_else(|| written(ABOUT_VALUES, &|_| false))
}

/// Whether the words report a full-text query that could not be parsed.
pub(super) fn is_about_a_match(code: &ffi::Error, words: &str, origin: Origin) -> bool {
    const STARTS: &[&str] = &[
        "fts5: ",
        "fts5 expression tree is too large",
        "FTS expression tree is too large",
        "malformed MATCH expression: ",
        "unterminated string",
        "expected integer, got ",
        "unknown special query: ",
    ];
    code.extended_code == ffi::SQLITE_ERROR
        && (STARTS.iter().any(|start| words.starts_with(start))
            || (origin == Origin::Run && words.starts_with("no such column: ")))
}

/// The template with the words in its holes, if it matches and they may be shown.
fn fill(template: &str, words: &str, shown: &dyn Fn(&str) -> bool) -> Option<String> {
    let (start, mut template) = split(template);
    let mut rest = words.strip_prefix(start)?;
    let mut filled = start.to_owned();
    while let Some(hole) = template.chars().next() {
        let (literal, after) = split(&template[if hole == '*' { 1 } else { 2 }..]);
        let end = match (literal, after) {
            ("", "") => rest.len(),
            (literal, "") => rest.len() - rest.strip_suffix(literal).map(|_| literal.len())?,
            (literal, _) => rest.find(literal)?,
        };
        let name = rest.get(..end)?;
        filled.push_str(if hole != '*' && shown(name) {
            name
        } else {
            "…"
        });
        filled.push_str(literal);
        rest = &rest[end + literal.len()..];
        template = after;
    }
    rest.is_empty().then_some(filled)
}

/// Splits a template at its first hole.
fn split(template: &str) -> (&str, &str) {
    template.split_at(template.find(['{', '*']).unwrap_or(template.len()))
}

/// The name of a column, unless it is an expression.
pub(super) fn name(name: String) -> String {
    if is_name(&name) {
        name
    } else {
        "…".to_owned()
    }
}

/// A name, possibly qualified by its table, or a number of columns.
fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || "_$.".contains(letter))
}

/// Whether SQL text may contain a literal. SQLite names an expression's column by such text.
pub(crate) fn may_hold_literal(sql: &str) -> bool {
    let mut before = ' ';
    sql.chars().any(|letter| {
        let in_word = before.is_alphanumeric() || "_$".contains(before);
        before = letter;
        "'\"`".contains(letter) || (letter.is_ascii_digit() && !in_word)
    })
}

fn is_of_a_schema(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && !text.contains(|letter: char| "'\"`".contains(letter) || letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &str, origin: Origin) -> Option<String> {
        shown(&ffi::Error::new(ffi::SQLITE_ERROR), words, origin)
    }

    #[test]
    fn names_are_shown_where_they_are_those_of_the_text() {
        for words in [
            "no such table: usr",
            "no such table: main.usr",
            "no such column: u.naïve",
            "no such function: sprintf2",
            "table user has no column named nme",
            "table user has 3 columns but 2 values were supplied",
            "foreign key mismatch - \"child\" referencing \"parent\"",
        ] {
            assert_eq!(error(words, Origin::Text).as_deref(), Some(words));
        }
        for (words, origin, expected) in [
            ("no such table: x y", Origin::Text, "no such table: …"),
            ("no such table: secret", Origin::Run, "no such table: …"),
            ("no such table: usr", Origin::Unknown, "no such table: usr"),
            (
                "no such column: secret",
                Origin::Unknown,
                "no such column: …",
            ),
            ("no such column: secret", Origin::Run, "no such column: …"),
            (
                "no such column: \"secret\" - should this be a string literal in single-quotes?",
                Origin::Text,
                "no such column: …",
            ),
            (
                "near \"'secret'\": syntax error",
                Origin::Text,
                "near \"…\": syntax error",
            ),
            (
                "unrecognized token: \"'sec",
                Origin::Text,
                "unrecognized token: …",
            ),
            ("bad JSON path: 'secret'", Origin::Run, "bad JSON path: …"),
        ] {
            assert_eq!(error(words, origin).as_deref(), Some(expected), "{words}");
        }
        assert_eq!(error("secret", Origin::Text), None);
        assert_eq!(
            error("no such table: usr and more: secret", Origin::Run).as_deref(),
            Some("no such table: …")
        );
    }

    #[test]
    fn a_constraint_is_known_by_its_code() {
        let said = |code, words| shown(&ffi::Error::new(code), words, Origin::Run);
        for (code, words) in [
            (
                ffi::SQLITE_CONSTRAINT_UNIQUE,
                "UNIQUE constraint failed: order items.a b, order items.c",
            ),
            (
                ffi::SQLITE_CONSTRAINT_UNIQUE,
                "UNIQUE constraint failed: index 'by_lower'",
            ),
            (
                ffi::SQLITE_CONSTRAINT_CHECK,
                "CHECK constraint failed: balance >= 0",
            ),
            (
                ffi::SQLITE_CONSTRAINT_DATATYPE,
                "cannot store TEXT value in INTEGER column t.n",
            ),
            (
                ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
                "FOREIGN KEY constraint failed",
            ),
        ] {
            assert_eq!(said(code, words).as_deref(), Some(words));
        }
        assert_eq!(
            said(
                ffi::SQLITE_CONSTRAINT_CHECK,
                "CHECK constraint failed: kind IN ('secret')"
            )
            .as_deref(),
            Some("CHECK constraint failed: …")
        );
        // RAISE can produce any text, including one that looks like the message of another code.
        assert_eq!(
            said(
                ffi::SQLITE_CONSTRAINT_TRIGGER,
                "UNIQUE constraint failed: secret"
            ),
            None
        );
    }
}
