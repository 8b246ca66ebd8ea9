//! Splits a script into its statements.

use std::ops::Range;

/// The range of each statement in a script, without the text before it. A `;` inside a trigger does not end it.
pub fn statements(script: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut statement = Statement::default();
    let mut at = 0;
    while let Some((token, length)) = token(&script[at..]) {
        if token == Token::Other || matches!(token, Token::Word(_)) {
            statement.begin.get_or_insert(at);
        }
        let ended = statement.add(token);
        at += length;
        if ended {
            found.extend(statement.begin.map(|begin| begin..at));
            statement = Statement::default();
        }
    }
    found.extend(statement.begin.map(|begin| begin..script.len()));
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Space,
    Semicolon,
    Word(&'a str),
    Other,
}

/// What has been read of a statement so far.
#[derive(Default)]
struct Statement {
    begin: Option<usize>,
    words: usize,
    creates: bool,
    is_trigger: bool,
    /// How much of `; END` was just read.
    ending: u8,
}

impl Statement {
    /// Adds a token. True if it ends the statement.
    fn add(&mut self, token: Token<'_>) -> bool {
        let is =
            |word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        match token {
            Token::Space => return false,
            Token::Semicolon if !self.is_trigger || self.ending == 2 => return true,
            Token::Semicolon => {
                self.ending = 1;
                return false;
            }
            _ => {}
        }
        self.ending = if self.ending == 1 && is("end") { 2 } else { 0 };
        self.words += 1;
        match self.words {
            1 => self.creates = is("create"),
            2 | 3 if self.creates && is("trigger") => self.is_trigger = true,
            2 if !is("temp") && !is("temporary") => self.creates = false,
            _ => {}
        }
        false
    }
}

/// The first token and its length in bytes.
fn token(sql: &str) -> Option<(Token<'_>, usize)> {
    let first = sql.chars().next()?;
    let until = |end: &str, begin: usize| {
        let rest = &sql[begin..];
        rest.find(end)
            .map_or(sql.len(), |place| begin + place + end.len())
    };
    Some(match first {
        ';' => (Token::Semicolon, 1),
        '-' if sql.starts_with("--") => (Token::Space, until("\n", 2)),
        '/' if sql.starts_with("/*") => (Token::Space, until("*/", 2)),
        // A doubled quote reads as two adjacent texts, which end where the one text would.
        '\'' => (Token::Other, until("'", 1)),
        '"' => (Token::Other, until("\"", 1)),
        '`' => (Token::Other, until("`", 1)),
        '[' => (Token::Other, until("]", 1)),
        '\u{feff}' => (Token::Space, first.len_utf8()),
        _ if first.is_ascii_whitespace() => (Token::Space, 1),
        _ if is_word(first) => {
            let end = sql.find(|sign| !is_word(sign)).unwrap_or(sql.len());
            (Token::Word(&sql[..end]), end)
        }
        _ => (Token::Other, first.len_utf8()),
    })
}

fn is_word(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_' || sign == '$' || !sign.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(script: &str) -> Vec<&str> {
        statements(script)
            .into_iter()
            .map(|range| &script[range])
            .collect()
    }

    #[test]
    fn signs_that_only_look_like_an_end_do_not_end_a_statement() {
        let script =
            "-- a; comment\nSELECT ';', \";\", [;], `;` /* ; */; ; select 'it''s;' -- last;";
        assert_eq!(
            apart(script),
            [
                "SELECT ';', \";\", [;], `;` /* ; */;",
                "select 'it''s;' -- last;"
            ]
        );
        assert_eq!(apart("\u{feff}  -- nothing"), [""; 0]);
        assert_eq!(apart("SELECT 'open"), ["SELECT 'open"]);
    }

    #[test]
    fn a_trigger_is_one_statement() {
        for begin in [
            "CREATE TRIGGER",
            "create temp trigger",
            "CREATE TEMPORARY TRIGGER",
        ] {
            let trigger = format!(
                "{begin} t AFTER INSERT ON a BEGIN\n UPDATE a SET end = CASE 1 WHEN 1 THEN 2 END;\n SELECT 1;\nEND;"
            );
            let script = format!("{trigger} SELECT 2; CREATE TABLE trigger_(a);");
            assert_eq!(
                apart(&script),
                [&trigger, "SELECT 2;", "CREATE TABLE trigger_(a);"]
            );
        }
    }
}
