//! Splits a script into its statements, as psql does.

use std::ops::Range;

use super::token::{Token, is_one_of, tokens};

/// The range of each statement, with the comments before it. A `;` inside parentheses (of CREATE RULE) or of the body of a
/// function that is written as SQL (BEGIN ATOMIC … END) does not end it.
pub(crate) fn statements(script: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    let mut statement = Statement::default();
    for (token, text) in tokens(script) {
        at += text.len();
        if statement.add(token) {
            if statement.words > 0 {
                found.push(begin..at);
            }
            begin = at;
            statement = Statement::default();
        }
    }
    if statement.words > 0 {
        found.push(begin..at);
    }
    found
}

#[derive(Default)]
struct Statement {
    /// How many tokens it has that say something.
    words: usize,
    creates: bool,
    is_routine: bool,
    parentheses: usize,
    /// How many BEGIN ATOMIC and CASE are open in a routine.
    depth: usize,
    /// The word before was BEGIN, which may also be a name.
    is_behind_begin: bool,
}

impl Statement {
    /// Adds a token. True if it ends the statement.
    fn add(&mut self, token: Token<'_>) -> bool {
        let is_behind_begin = match token {
            Token::Space => return false,
            _ => std::mem::take(&mut self.is_behind_begin),
        };
        match token {
            Token::Semicolon => return self.parentheses == 0 && self.depth == 0,
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) => self.add_word(word, is_behind_begin),
            _ => {}
        }
        self.words += 1;
        false
    }

    fn add_word(&mut self, word: &str, is_behind_begin: bool) {
        let is = |wanted: &[&str]| is_one_of(word, wanted);
        match self.words {
            0 => self.creates = is(&["create"]),
            1 | 3 if self.creates && is(&["function", "procedure"]) => self.is_routine = true,
            1 => self.creates &= is(&["or"]),
            _ => {}
        }
        if self.is_routine && self.parentheses == 0 {
            self.is_behind_begin = is(&["begin"]);
            if (is_behind_begin && is(&["atomic"])) || (self.depth > 0 && is(&["case"])) {
                self.depth += 1;
            } else if is(&["end"]) {
                self.depth = self.depth.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(script: &str) -> Vec<&str> {
        let ranges = statements(script).into_iter();
        ranges.map(|range| script[range].trim()).collect()
    }

    #[test]
    fn signs_that_only_look_like_an_end_do_not_end_a_statement() {
        let first = "-- a; comment\nSELECT ';', \";\", $$;$$, E'\\';' /* ; /* ; */ ; */;";
        let script = format!("{first} ; ; select 1 -- last;");
        assert_eq!(apart(&script), [first, "select 1 -- last;"]);
        assert_eq!(apart("\u{feff}  -- nothing\n;"), [""; 0]);
        assert_eq!(apart("-- a comment\rCOMMIT; SELECT 1").len(), 2);
        for continued in [
            r"E'a'
            'b\''",
            r"E'a' -- one string
            'b\''",
        ] {
            assert_eq!(apart(&format!("SELECT {continued}; COMMIT; --'")).len(), 2);
        }
        assert_eq!(apart(r"SELECT E'a' 'b\'; COMMIT; --'").len(), 2);
    }

    #[test]
    fn a_rule_and_a_routine_are_one_statement() {
        for one in [
            "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2);",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END;",
            "create or replace procedure p() language plpgsql as $$ BEGIN COMMIT; END $$;",
        ] {
            let script = format!("{one} SELECT 2;");
            assert_eq!(apart(&script), [one, "SELECT 2;"]);
        }
        assert_eq!(apart("CREATE TABLE begin (a int); END;").len(), 2);
        let named = "CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT; END;";
        assert_eq!(apart(named).len(), 3);
    }
}
