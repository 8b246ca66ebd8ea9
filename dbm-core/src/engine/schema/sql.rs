//! SQL text in a normal form. It is the same for texts that differ only in white space, comments, quoting or the case
//! of words.

/// A word, a literal or a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    text: String,
    /// Written in quotes, so it is never a keyword.
    quoted: bool,
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The name without quotes.
    pub(super) fn name(&self) -> String {
        match self.text.chars().next() {
            Some(quote @ ('"' | '\'')) => unquote(&self.text, quote),
            _ => self.text.clone(),
        }
    }
}

/// Operators of more than one character, longest first.
const OPERATORS: [&str; 10] = ["->>", "->", "||", "<<", ">>", "<=", ">=", "<>", "!=", "=="];

/// Splits a statement into its tokens.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' => (
                Some(literal(&rest[..quoted(rest, '\'')])),
                quoted(rest, '\''),
            ),
            'x' | 'X' if rest[1..].starts_with('\'') => {
                let length = 1 + quoted(&rest[1..], '\'');
                (Some(literal(&rest[..length].to_ascii_lowercase())), length)
            }
            '"' | '`' => (Some(name(rest, first)), quoted(rest, first)),
            '[' => (Some(name(rest, ']')), quoted(rest, ']')),
            _ if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => {
                (None, rest.find("*/").map_or(rest.len(), |end| end + 2))
            }
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Some(literal(&rest[..length].to_ascii_lowercase())), length)
            }
            _ => {
                let operator = OPERATORS
                    .iter()
                    .find(|operator| rest.starts_with(**operator));
                let length = operator.map_or(first.len_utf8(), |operator| operator.len());
                let sign = match &rest[..length] {
                    "==" => "=",
                    "!=" => "<>",
                    sign => sign,
                };
                (Some(literal(sign)), length)
            }
        };
        tokens.extend(token);
        rest = rest[length..].trim_start();
    }
    while tokens.last().is_some_and(|token| token.is(";")) {
        tokens.pop();
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn literal(text: &str) -> Token {
    Token {
        text: text.to_owned(),
        quoted: false,
    }
}

/// Length of a quoted text that begins with a quote. A doubled end quote is part of the text.
fn quoted(text: &str, end: char) -> usize {
    let mut signs = text.char_indices().skip(1).peekable();
    while let Some((at, sign)) = signs.next() {
        if sign == end
            && signs
                .next_if(|(_, next)| *next == end && end != ']')
                .is_none()
        {
            return at + 1;
        }
    }
    text.len()
}

/// A quoted name, without quotes if it needs none.
fn name(text: &str, end: char) -> Token {
    let text = unquote(&text[..quoted(text, end)], end);
    Token {
        text: quote(&text.to_ascii_lowercase()),
        quoted: true,
    }
}

/// The text between the quotes. The end quote may be missing.
fn unquote(text: &str, end: char) -> String {
    let text = &text[1..];
    let text = text.strip_suffix(end).unwrap_or(text);
    text.replace(&format!("{end}{end}"), &end.to_string())
}

/// A default value in normal form. In double quotes it is a string, whose case counts (sqlite.org/quirks.html).
pub(super) fn default_value(sql: &str) -> String {
    let sql = sql.trim();
    if sql.starts_with('"') && quoted(sql, '"') == sql.len() {
        format!("'{}'", unquote(sql, '"').replace('\'', "''"))
    } else {
        normal(sql)
    }
}

/// Quotes a name for use in SQL.
pub(super) fn quote(name: &str) -> String {
    let plain = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Joins tokens into one line.
pub(super) fn line(tokens: &[Token]) -> String {
    let mut line = String::new();
    for token in tokens {
        let glued = line.is_empty()
            || line.ends_with(['(', '.'])
            || [")", ",", ".", ";"].iter().any(|sign| token.is(sign));
        if !glued {
            line.push(' ');
        }
        line.push_str(&token.text);
    }
    line
}

/// The normal form of an expression.
pub(super) fn normal(sql: &str) -> String {
    line(&tokens(sql))
}

/// The contents of the first parentheses, split at the commas, and the tokens after them.
pub(super) fn first_list(tokens: &[Token]) -> (Vec<&[Token]>, &[Token]) {
    let Some(open) = tokens.iter().position(|token| token.is("(")) else {
        return (Vec::new(), &[]);
    };
    let close = closing(tokens, open);
    let mut pieces = Vec::new();
    let mut start = open + 1;
    let mut at = start;
    while at < close {
        if tokens[at].is("(") {
            at = closing(tokens, at);
        } else if tokens[at].is(",") {
            pieces.push(&tokens[start..at]);
            start = at + 1;
        }
        at += 1;
    }
    pieces.push(&tokens[start..close]);
    (pieces, tokens.get(close + 1..).unwrap_or_default())
}

/// The index of the parenthesis that closes the one at `open`.
pub(super) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is("(") {
            depth += 1;
        } else if token.is(")") {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_comments_quotes_and_case_make_no_difference() {
        let plain = normal("CREATE VIEW adult AS SELECT id, t.name FROM user t WHERE age >= 18");
        for text in [
            "create view \"adult\" as\n  select `ID`,[t].name from User T where age>=18;",
            "CREATE VIEW adult AS -- who may vote\nSELECT id, t . name FROM user t /* all */ WHERE age >= 18 ; ",
        ] {
            assert_eq!(normal(text), plain);
        }
        assert_eq!(
            plain,
            "create view adult as select id, t.name from user t where age >= 18"
        );
    }

    #[test]
    fn what_matters_is_kept() {
        for (text, normal_form) in [
            ("'It''s  A'", "'It''s  A'"),
            ("\"Two Words\" = 'x'", "\"two words\" = 'x'"),
            ("\"a\"\"b\"", "\"a\"\"b\""),
            ("a->>'$.B'", "a ->> '$.B'"),
            ("length(a)>-1", "length (a) > - 1"),
            ("1.5 + ü", "1.5 + ü"),
            ("'unfinished", "'unfinished"),
            ("[unfinished", "unfinished"),
            ("/* unfinished", ""),
            ("", ""),
        ] {
            assert_eq!(normal(text), normal_form, "{text}");
        }
        assert_eq!(normal("a == X'aB' AND b != c"), "a = x'ab' and b <> c");
        assert_eq!(default_value("\"It's\""), "'It''s'");
        assert_eq!(default_value("TRUE"), "true");
        assert_ne!(default_value("\"a\" || \"b\""), "'a\" || \"b'");
        assert_ne!(normal("a < b"), normal("a <= b"));
        assert_ne!(normal("'a'"), normal("'A'"));
        assert!(!tokens("\"check\"")[0].is("check"));
    }

    #[test]
    fn a_list_is_cut_at_its_own_commas_only() {
        let tokens = tokens("t (a DECIMAL(10, 2), b CHECK (b IN (1, 2))) STRICT, x");
        let (pieces, rest) = first_list(&tokens);
        let pieces: Vec<String> = pieces.into_iter().map(line).collect();
        assert_eq!(pieces, ["a decimal (10, 2)", "b check (b in (1, 2))"]);
        assert_eq!(line(rest), "strict, x");
        assert!(first_list(&super::tokens("t")).0.is_empty());
        assert_eq!(first_list(&super::tokens("t (a, (b")).0.len(), 2);
    }
}
