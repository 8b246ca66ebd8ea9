//! A schema file: SQL, and marks that ask for a table to be rebuilt.

use crate::rebuild::Rebuild;
use crate::split::statements;

/// The beginning of a line that asks for the table named after it to be rebuilt.
const MARK: &str = "-- dbm: rebuild ";

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// SQL to be run as it is.
    Plain(&'a str),
    /// A table to be rebuilt.
    Rebuild(Rebuild<'a>),
}

/// The parts of a file, each with its offset.
///
/// # Errors
///
/// The offset of a mark that is not followed by the statements for its table, and what has to follow.
pub fn parts(file: &str) -> Result<Vec<(usize, Part<'_>)>, (usize, String)> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (mark, table) in marks(file) {
        if mark < begin {
            return Err((mark, "this table is rebuilt already".to_owned()));
        }
        parts.push((begin, Part::Plain(&file[begin..mark])));
        let mut next = statements(&file[mark..]).into_iter();
        let mut next = || {
            next.next()
                .map(|range| &file[mark + range.start..mark + range.end])
        };
        let create = next().filter(|sql| is_about(sql, &["create", "table"], table));
        let Some(create) = create else {
            return Err((
                mark,
                format!("behind this line follows `CREATE TABLE {table} (..)`"),
            ));
        };
        let copy = next().filter(|sql| is_about(sql, &["insert", "into"], table));
        let last = copy.unwrap_or(create);
        begin = last.as_ptr() as usize - file.as_ptr() as usize + last.len();
        parts.push((
            mark,
            Part::Rebuild(Rebuild {
                table,
                create,
                copy,
            }),
        ));
    }
    parts.push((begin, Part::Plain(&file[begin..])));
    Ok(parts)
}

/// The offset of each line that asks for a table to be rebuilt, and the table.
fn marks(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut end = 0;
    file.split_inclusive('\n').filter_map(move |line| {
        let begin = end;
        end += line.len();
        let table = line.trim_start_matches('\u{feff}').strip_prefix(MARK)?;
        Some((begin, table.trim()))
    })
}

/// Whether a statement begins with these words and that name, plain or in quotes.
fn is_about(sql: &str, words: &[&str], table: &str) -> bool {
    let mut rest = sql;
    for word in words {
        let Some(begin) = rest.get(..word.len()) else {
            return false;
        };
        if !begin.eq_ignore_ascii_case(word) {
            return false;
        }
        rest = rest[word.len()..].trim_start();
    }
    let rest = rest.trim_start_matches(['"', '`', '[']);
    let name = rest.get(..table.len());
    let behind = rest.get(table.len()..).and_then(|rest| rest.chars().next());
    !table.is_empty()
        && name.is_some_and(|name| name.eq_ignore_ascii_case(table))
        && !behind.is_some_and(|sign| sign.is_alphanumeric() || sign == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mark_is_one_part() {
        let file = "-- rebuild everything\nSELECT 1; -- dbm: rebuild user\n";
        assert_eq!(parts(file).unwrap(), [(0, Part::Plain(file))]);
    }

    #[test]
    fn a_mark_takes_the_table_behind_it_and_what_copies_its_rows() {
        let file = "SELECT 1;\n-- dbm: rebuild user\nCREATE TABLE \"User\" (a);\nINSERT INTO user SELECT 1;\nSELECT 2;\n-- dbm: rebuild b\ncreate table b (c)";
        let found = parts(file).unwrap();
        let rebuilt = |table, create, copy| {
            Part::Rebuild(Rebuild {
                table,
                create,
                copy,
            })
        };
        assert_eq!(found[0].1, Part::Plain("SELECT 1;\n"));
        let copy = Some("INSERT INTO user SELECT 1;");
        assert_eq!(
            found[1].1,
            rebuilt("user", "CREATE TABLE \"User\" (a);", copy)
        );
        assert_eq!(found[2].1, Part::Plain("\nSELECT 2;\n"));
        assert_eq!(found[3].1, rebuilt("b", "create table b (c)", None));
    }

    #[test]
    fn a_mark_without_its_table_is_told() {
        for behind in [
            "",
            "SELECT 1",
            "CREATE TABLE users (a)",
            "INSERT INTO user VALUES (1)",
        ] {
            let file = format!("SELECT 1;\n-- dbm: rebuild user\n{behind}");
            assert_eq!(parts(&file).unwrap_err().0, 10, "{behind}");
        }
    }
}
