//! The parameters of a statement: written as for SQLite, sent as PostgreSQL numbers them.

use dbm_core::{Error, Result};

use super::token::{Token, tokens};

/// PostgreSQL's limit.
const MOST: usize = 65_535;

/// A statement with PostgreSQL's placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) sql: String,
    /// For `$1`, `$2`, …: which parameter of the statement as it was written it is, counted from 0.
    pub(crate) order: Vec<usize>,
    /// The parameters as they were written, by number; a number that is not used has no name.
    pub(crate) names: Vec<Option<String>>,
}

/// Translates `?`, `?7`, `:name`, `@name` and `$name` as SQLite numbers them; `$7` is taken for `?7`. Numbers that are not used are closed up,
/// because PostgreSQL wants a type for each.
///
/// # Errors
///
/// `?0`, and more parameters than PostgreSQL has.
pub(crate) fn translate(written: &str) -> Result<Translated> {
    let mut done = Translated {
        sql: String::with_capacity(written.len() + 8),
        order: Vec::new(),
        names: Vec::new(),
    };
    for (token, text) in tokens(written) {
        let index = match token {
            Token::Numbered(None) if text.len() == 1 => done.names.len(),
            Token::Numbered(Some(number)) | Token::Native(number)
                if (1..=MOST).contains(&number) =>
            {
                number - 1
            }
            Token::Numbered(_) | Token::Native(_) => return Err(out_of_range(text)),
            Token::Named => done.place_of(text),
            _ => {
                done.sql.push_str(text);
                continue;
            }
        };
        if index >= MOST {
            return Err(out_of_range(text));
        }
        if index >= done.names.len() {
            done.names.resize(index + 1, None);
        }
        if matches!(token, Token::Named) {
            done.names[index] = Some(text.to_owned());
        }
        let place = done.order.iter().position(|known| *known == index);
        let place = place.unwrap_or_else(|| {
            done.order.push(index);
            done.order.len() - 1
        });
        done.sql.push('$');
        done.sql.push_str(&(place + 1).to_string());
        // `?1and` reads as a number and a word, `$1and` would not.
        done.sql.push(' ');
    }
    Ok(done)
}

impl Translated {
    fn place_of(&self, name: &str) -> usize {
        let known = self.names.iter();
        let mut known = known.map(Option::as_deref);
        known
            .position(|known| known == Some(name))
            .unwrap_or(self.names.len())
    }
}

fn out_of_range(placeholder: &str) -> Error {
    Error::Parameter {
        name: placeholder.chars().take(20).collect(),
        message: "the number of a parameter is from 1 to 65,535".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(written: &str) -> String {
        translate(written).unwrap().sql.replace(" ", "")
    }

    #[test]
    fn parameters_are_numbered_as_sqlite_numbers_them() {
        for (written, sent, order) in [
            ("SELECT ?, ?", "SELECT$1,$2", &[0, 1][..]),
            ("SELECT ?2, ?1, ?2", "SELECT$1,$2,$1", &[1, 0]),
            ("SELECT ?3, ?", "SELECT$1,$2", &[2, 3]),
            ("SELECT :a, :b, :a, ?", "SELECT$1,$2,$1,$3", &[0, 1, 2]),
            ("SELECT $2, $1", "SELECT$1,$2", &[1, 0]),
            ("SELECT $a, @b, a=:c, $a", "SELECT$1,$2,a=$3,$1", &[0, 1, 2]),
            ("SELECT 1*-- a\n?", "SELECT1*--a\n$1", &[0]),
            ("SELECT ?1::int8", "SELECT$1::int8", &[0]),
        ] {
            let done = translate(written).unwrap();
            assert_eq!(
                (done.sql.replace(' ', "").as_str(), &*done.order),
                (sent, order),
                "{written}"
            );
        }
        let names = translate("SELECT :a, ?, :ünï").unwrap().names;
        assert_eq!(names, [Some(":a".into()), None, Some(":ünï".into())]);
    }

    #[test]
    fn what_only_looks_like_a_parameter_is_left_alone() {
        for same in [
            "SELECT ':a ?1' AS \"b ? :c\"",
            "SELECT 'it''s :a'",
            r"SELECT E'it\'s ?', e'\\'",
            "SELECT $$ :a ? $$, $x$ ? $$ :b $x$",
            "SELECT 1 -- :a ?\n",
            "SELECT /* ? /* :b */ ? */ 1",
            "SELECT a::text, b[1:2], f(c := 1)",
            "SELECT a <@b, a @>b, a*@b, - -@ c",
            "SELECT a$1, a$b$ FROM b",
            "SELECT 'open ?",
            "SELECT $open$ ?",
            "SELECT E'open ?\\",
            "SELECT /* open ?",
        ] {
            let done = translate(same).unwrap();
            assert_eq!(done.sql, same);
            assert_eq!(done.order, [0; 0], "{same}");
        }
    }

    #[test]
    fn a_word_behind_a_number_stays_a_word() {
        assert_eq!(translate("SELECT ?1and").unwrap().sql, "SELECT $1 and");
        assert_eq!(sql("SELECT ?1||?2"), "SELECT$1||$2");
    }

    #[test]
    fn numbers_without_a_parameter_are_refused() {
        for wrong in ["?0", "$0", "?65536", "?99999999999999999999", "$65536"] {
            assert!(translate(wrong).is_err(), "{wrong}");
        }
    }
}
