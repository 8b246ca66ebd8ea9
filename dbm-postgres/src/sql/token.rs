//! The tokens of a text of SQL, as PostgreSQL reads it with its default settings.

/// As much of a token as matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// White space or a comment.
    Space,
    Semicolon,
    Open,
    Close,
    /// A keyword, or a name without quotes.
    Word(&'a str),
    /// A string of any kind.
    Text,
    /// `?` and `?7`.
    Numbered(Option<usize>),
    /// `:name`, `@name` and `$name`.
    Named,
    /// `$7`.
    Native(usize),
    /// A name in quotes, a number, an operator.
    Other,
}

/// Each token and its text.
pub(super) fn tokens(sql: &str) -> impl Iterator<Item = (Token<'_>, &str)> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let (token, length) = first(rest)?;
        let (text, behind) = rest.split_at(length);
        rest = behind;
        Some((token, text))
    })
}

fn first(sql: &str) -> Option<(Token<'_>, usize)> {
    let sign = sql.chars().next()?;
    let behind = &sql[sign.len_utf8()..];
    Some(match sign {
        ';' => (Token::Semicolon, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        '-' if behind.starts_with('-') => (Token::Space, line(sql)),
        '/' if behind.starts_with('*') => (Token::Space, comment(sql)),
        // A doubled quote reads as two adjacent strings, which end where the one would.
        '\'' => (Token::Text, until(sql, 1, "'")),
        '"' => (Token::Other, until(sql, 1, "\"")),
        '$' => dollar(sql, behind),
        '?' => {
            let digits = digits(behind);
            (Token::Numbered(behind[..digits].parse().ok()), 1 + digits)
        }
        ':' if behind.starts_with([':', '=']) => (Token::Other, 2),
        ':' | '@' if behind.starts_with(begins_word) => (Token::Named, 1 + name(behind)),
        // An operator to its end, so that the name in `a <@b` is no parameter.
        _ if OPERATORS.contains(sign) => (Token::Other, operator(sql)),
        'e' | 'E' if behind.starts_with('\'') => (Token::Text, escaped(sql)),
        _ if sign.is_whitespace() || sign == '\u{feff}' => (Token::Space, sign.len_utf8()),
        _ if begins_word(sign) => {
            let length = word(sql);
            (Token::Word(&sql[..length]), length)
        }
        // With what follows it, so that in `1e5` and `1a` no word begins.
        _ if sign.is_ascii_digit() => (Token::Other, word(sql)),
        _ => (Token::Other, sign.len_utf8()),
    })
}

fn begins_word(sign: char) -> bool {
    sign.is_ascii_alphabetic() || sign == '_' || !sign.is_ascii()
}

fn word(sql: &str) -> usize {
    let is_inside = |sign: char| begins_word(sign) || sign.is_ascii_digit() || sign == '$';
    sql.find(|sign| !is_inside(sign)).unwrap_or(sql.len())
}

fn digits(sql: &str) -> usize {
    sql.bytes().take_while(u8::is_ascii_digit).count()
}

fn until(sql: &str, begin: usize, end: &str) -> usize {
    let found = sql[begin..].find(end);
    found.map_or(sql.len(), |at| begin + at + end.len())
}

/// A line ends with a carriage return, too, unlike in SQLite.
fn line(sql: &str) -> usize {
    sql.find(['\n', '\r']).unwrap_or(sql.len())
}

/// Comments nest, unlike those of SQLite.
fn comment(sql: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    sql.len()
}

/// `E'it\'s'`. A string on the next line is part of it, and has the same escapes.
fn escaped(sql: &str) -> usize {
    let mut end = 1 + quoted(&sql[1..]);
    while let Some(gap) = gap(&sql[end..]) {
        end += gap;
        end += quoted(&sql[end..]);
    }
    end
}

fn quoted(sql: &str) -> usize {
    let mut signs = sql.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    sql.len()
}

/// How far it is to a string that goes on behind the end of a line.
fn gap(sql: &str) -> Option<usize> {
    let (mut at, mut is_next_line) = (0, false);
    loop {
        let rest = &sql[at..];
        at += match rest.chars().next()? {
            '\'' => return is_next_line.then_some(at),
            '-' if rest.starts_with("--") => line(rest),
            sign if sign.is_whitespace() => {
                is_next_line |= matches!(sign, '\n' | '\r');
                sign.len_utf8()
            }
            _ => return None,
        };
    }
}

/// `$7`, `$name`, or a string such as `$tag$ … $tag$`.
fn dollar<'a>(sql: &'a str, behind: &'a str) -> (Token<'a>, usize) {
    let digits = digits(behind);
    if digits > 0 {
        // A number that is too large is refused as 0 is.
        let number = behind[..digits].parse().unwrap_or(0);
        return (Token::Native(number), 1 + digits);
    }
    let tag = name(behind);
    if behind[tag..].starts_with('$') {
        let tag = &sql[..tag + 2];
        return (Token::Text, until(sql, tag.len(), tag));
    }
    if tag > 0 {
        (Token::Named, 1 + tag)
    } else {
        (Token::Other, 1)
    }
}

/// The name of a parameter, or the tag of a string: a word without `$`.
fn name(sql: &str) -> usize {
    let is_inside = |sign: char| begins_word(sign) || sign.is_ascii_digit();
    sql.find(|sign| !is_inside(sign)).unwrap_or(sql.len())
}

/// The signs of operators, without `?`, which is a parameter.
const OPERATORS: &str = "+-*/<>=~!@#%^&|`";

fn operator(sql: &str) -> usize {
    let is_end = |(at, sign): &(usize, char)| {
        let rest = &sql[*at..];
        *at > 0 && (!OPERATORS.contains(*sign) || rest.starts_with("--") || rest.starts_with("/*"))
    };
    let mut signs = sql.char_indices();
    signs.find(is_end).map_or(sql.len(), |(at, _)| at)
}
/// Whether a word is one of these, in any case.
pub(super) fn is_one_of(word: &str, wanted: &[&str]) -> bool {
    wanted
        .iter()
        .any(|wanted| word.eq_ignore_ascii_case(wanted))
}
