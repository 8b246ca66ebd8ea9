//! The statements of a body, found in its tokens: a body is never parsed, it may be half typed.
//!
//! Only what is sure is found. A name that may be another one, a statement that may not be compiled, a macro of which
//! nobody knows what it makes of its tokens: they are left out.

use super::arguments::{Given, argument, columns};
use super::text::Text;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::HashMap;
use syn::Type;

/// One statement that is given to the handle.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) method: Method,
    pub(super) text: Text,
    pub(super) given: Option<Given>,
    /// How many columns the type of its rows has.
    pub(super) columns: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Query,
    QueryOne,
    QueryOptional,
    QueryMap,
    Stream,
    Execute,
    ExecuteMany,
    ExecuteBatch,
}

impl Method {
    fn of(token: Option<&TokenTree>) -> Option<Self> {
        let Some(TokenTree::Ident(name)) = token else {
            return None;
        };
        Some(match &*name.to_string() {
            "query" => Self::Query,
            "query_one" => Self::QueryOne,
            "query_optional" => Self::QueryOptional,
            "query_map" => Self::QueryMap,
            "stream" => Self::Stream,
            "execute" => Self::Execute,
            "execute_many" => Self::ExecuteMany,
            "execute_batch" => Self::ExecuteBatch,
            _ => return None,
        })
    }

    /// Whether it is for statements that give rows.
    pub(super) fn asks(self) -> bool {
        !matches!(self, Self::Execute | Self::ExecuteMany | Self::ExecuteBatch)
    }

    /// Whether the parameters of one run stand behind the SQL.
    fn is_given_parameters(self) -> bool {
        self != Self::ExecuteMany
    }

    /// The rows of what `.await?` gives.
    fn row(self, ty: &Type) -> Option<&Type> {
        match self {
            Self::Query => argument(ty, "Vec"),
            Self::QueryOne => Some(ty),
            Self::QueryOptional => argument(ty, "Option"),
            _ => None,
        }
    }
}

/// Macros whose tokens are expressions, run where they stand.
const TRANSPARENT: &str = "assert assert_eq assert_ne bail bail dbg debug debug_assert debug_assert_eq debug_assert_ne \
    ensure eprint eprintln error format info join matches panic print println trace try_join vec warn write writeln";

/// The statements of a body whose handle has this name, in the order in which they stand.
pub(super) fn statements(body: TokenStream, handle: &str) -> Vec<Statement> {
    let mut scan = Scan {
        handle,
        scopes: Vec::new(),
        found: Vec::new(),
    };
    scan.group(body);
    scan.found
}

struct Scan<'a> {
    handle: &'a str,
    /// What names stand for, the innermost block last; none is something unknown.
    scopes: Vec<HashMap<String, Option<Text>>>,
    found: Vec<Statement>,
}

/// Whether the rest of a block is worth a look.
enum Rest {
    From(usize),
    Nothing,
}

impl Scan<'_> {
    fn group(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        self.scopes.push(HashMap::new());
        self.constants(&tokens);
        let mut at = 0;
        while at < tokens.len() {
            match self.step(&tokens, at) {
                Rest::From(next) => at = next,
                Rest::Nothing => break,
            }
        }
        self.scopes.pop();
    }

    fn step(&mut self, tokens: &[TokenTree], at: usize) -> Rest {
        let rest = &tokens[at..];
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' && is_cfg(rest.get(1)) => {
                return self.skip(tokens, at);
            }
            TokenTree::Punct(punct) if punct.as_char() == '|' => {
                if let Some(length) = closure_parameters(&rest[1..]) {
                    return self.shadow(&rest[1..=length], at + length + 2);
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '=' && is_punct(rest.get(1), '>') => {
                let begin = arm_begin(tokens, at);
                return self.shadow(&tokens[begin..at], at + 2);
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                match &*word {
                    "let" => return self.binding(tokens, at),
                    "for" => {
                        let end = position(rest, |token| is_word(token, "in"));
                        return self.shadow(&rest[1..end.max(1)], at + end.max(1));
                    }
                    "fn" | "impl" | "mod" | "trait" | "struct" | "enum" | "macro_rules" => {
                        return Rest::From(at + item(rest));
                    }
                    _ if is_punct(rest.get(1), '!') && is_group(rest.get(2)) => {
                        return self.macro_call(&word, rest, at);
                    }
                    _ if word == self.handle && !is_part(tokens, at) => {
                        return Rest::From(
                            self.statement(rest, None).map_or(at + 1, |end| at + end),
                        );
                    }
                    _ => {}
                }
            }
            TokenTree::Group(group) => self.group(group.stream()),
            _ => {}
        }
        Rest::From(at + 1)
    }

    /// A statement at the begin of these tokens; how many of them it takes.
    fn statement(&mut self, tokens: &[TokenTree], ty: Option<&Type>) -> Option<usize> {
        if !is_punct(tokens.get(1), '.') {
            return None;
        }
        let method = Method::of(tokens.get(2))?;
        let (row, end) = turbofish(&tokens[3..]);
        let end = 3 + end;
        let Some(TokenTree::Group(arguments)) = tokens.get(end) else {
            return None;
        };
        if arguments.delimiter() != Delimiter::Parenthesis {
            return None;
        }
        let all: Vec<TokenTree> = arguments.stream().into_iter().collect();
        let comma = position(&all, |token| is_punct(Some(token), ','));
        let row = row.as_ref().or_else(|| {
            let is_awaited = is_punct(tokens.get(end + 1), '.')
                && tokens
                    .get(end + 2)
                    .is_some_and(|token| is_word(token, "await"))
                && is_punct(tokens.get(end + 3), '?')
                && is_punct(tokens.get(end + 4), ';');
            ty.filter(|_| is_awaited).and_then(|ty| method.row(ty))
        });
        if let Some(text) = self.text(&all[..comma]) {
            let given = all.get(comma + 1..).unwrap_or_default();
            let given = method
                .is_given_parameters()
                .then(|| Given::read(given.iter().cloned().collect()));
            self.found.push(Statement {
                method,
                text,
                given: given.flatten(),
                columns: row.and_then(columns),
            });
        }
        self.group(arguments.stream());
        Some(end + 1)
    }

    fn text(&self, tokens: &[TokenTree]) -> Option<Text> {
        match tokens {
            [TokenTree::Punct(reference), rest @ ..] if reference.as_char() == '&' => {
                self.text(rest)
            }
            [TokenTree::Ident(name)] => {
                let name = name.to_string();
                let known = self.scopes.iter().rev().find_map(|scope| scope.get(&name));
                known.cloned().flatten()
            }
            tokens => Text::read(tokens),
        }
    }

    /// `let pattern: Type = expression;`, also in `if let` and `let … else`.
    fn binding(&mut self, tokens: &[TokenTree], at: usize) -> Rest {
        let rest = &tokens[at + 1..];
        let is_end = |token: &TokenTree| is_punct(Some(token), '=') || is_punct(Some(token), ';');
        let end = position(rest, is_end);
        let colon = position(&rest[..end], |token| is_punct(Some(token), ':'));
        let is_typed = !is_punct(rest.get(colon + 1), ':') && colon < end;
        let pattern = if is_typed {
            &rest[..colon]
        } else {
            &rest[..end]
        };
        let ty = is_typed
            .then(|| syn::parse2(rest[colon + 1..end].iter().cloned().collect()).ok())
            .flatten();
        let value = end + usize::from(is_punct(rest.get(end), '='));
        let semicolon = position(rest, |token| is_punct(Some(token), ';'));
        let text = match pattern {
            [TokenTree::Ident(_)] if value <= semicolon => self.text(&rest[value..semicolon]),
            _ => None,
        };
        if let Some(text) = text {
            self.bind(&pattern[0].to_string(), Some(text));
            return Rest::From(at + 1 + semicolon);
        }
        // The value is older than the name.
        let mut next = at + 1 + value;
        if let Some(end) = tokens
            .get(next)
            .filter(|token| is_word(token, self.handle))
            .and_then(|_| self.statement(&tokens[next..], ty.as_ref()))
        {
            next += end;
        }
        if !names(pattern).any(|name| name == self.handle) {
            return self.shadow(pattern, next);
        }
        // That of `if let` ends at its block, where the name is the new one.
        let rest = tokens.get(next..).unwrap_or_default();
        let end = position(rest, |token| is_punct(Some(token), ';') || is_block(token));
        self.group(rest[..end].iter().cloned().collect());
        Rest::Nothing
    }

    /// The constants of a block can be used before they stand there.
    fn constants(&mut self, tokens: &[TokenTree]) {
        for (at, token) in tokens.iter().enumerate() {
            let is_item = is_word(token, "const") || is_word(token, "static");
            let Some(TokenTree::Ident(name)) = tokens.get(at + 1).filter(|_| is_item) else {
                continue;
            };
            let rest = &tokens[at + 2..];
            let equals = position(rest, |token| is_punct(Some(token), '='));
            let semicolon = position(rest, |token| is_punct(Some(token), ';'));
            let is_conditional = at >= 2 && is_cfg(tokens.get(at - 1));
            let value = rest.get(equals + 1..semicolon).filter(|_| !is_conditional);
            let text = value.and_then(|value| self.text(value));
            self.bind(&name.to_string(), text);
        }
    }

    fn macro_call(&mut self, name: &str, tokens: &[TokenTree], at: usize) -> Rest {
        let Some(TokenTree::Group(group)) = tokens.get(2) else {
            return Rest::From(at + 1);
        };
        if TRANSPARENT.split_whitespace().any(|known| known == name) {
            self.group(group.stream());
        } else {
            // It may give a name another meaning.
            for name in all_names(group) {
                if name != self.handle {
                    self.bind(&name, None);
                }
            }
        }
        Rest::From(at + 3)
    }

    /// What stands behind `#[cfg(..)]` may not be there, nor what it binds.
    fn skip(&mut self, tokens: &[TokenTree], at: usize) -> Rest {
        let end = at + position(&tokens[at..], |token| is_punct(Some(token), ';'));
        let skipped = &tokens[at..end];
        let bound = skipped.iter().position(|token| is_word(token, "let"));
        let Some(bound) = bound else {
            return Rest::From(end);
        };
        let pattern = &skipped[bound..];
        let pattern = &pattern[..position(pattern, |token| is_punct(Some(token), '='))];
        self.shadow(pattern, end)
    }

    /// Goes on behind a pattern: its names are something unknown for the rest of the block.
    fn shadow(&mut self, pattern: &[TokenTree], next: usize) -> Rest {
        for name in names(pattern) {
            if name == self.handle {
                return Rest::Nothing;
            }
            self.bind(&name, None);
        }
        Rest::From(next)
    }

    fn bind(&mut self, name: &str, text: Option<Text>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), text);
        }
    }
}

/// The type in `::<T>`, and how many tokens it takes.
fn turbofish(tokens: &[TokenTree]) -> (Option<Type>, usize) {
    let opens = is_punct(tokens.first(), ':')
        && is_punct(tokens.get(1), ':')
        && is_punct(tokens.get(2), '<');
    if !opens {
        return (None, 0);
    }
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(2) {
        let is_arrow = is_punct(tokens.get(at - 1), '-');
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' && !is_arrow => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let inside = tokens[3..at].iter().cloned().collect();
            return (syn::parse2(inside).ok(), at + 1);
        }
    }
    (None, 0)
}

/// How many tokens the parameters of a closure take, behind its first `|`: a lone one is an operator.
fn closure_parameters(tokens: &[TokenTree]) -> Option<usize> {
    tokens
        .iter()
        .position(|token| is_punct(Some(token), '|'))
        .filter(|end| {
            let is_pattern = |token: &TokenTree| match token {
                TokenTree::Punct(punct) => !";.=!?+*/".contains(punct.as_char()),
                TokenTree::Group(group) => {
                    group.delimiter() != Delimiter::Brace || group.stream().is_empty()
                }
                _ => true,
            };
            tokens[..*end].iter().all(is_pattern)
        })
}

/// Where the pattern of a match arm begins that ends at `=>`.
fn arm_begin(tokens: &[TokenTree], arrow: usize) -> usize {
    let is_before = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => ",;".contains(punct.as_char()),
        token => is_block(token),
    };
    // `Point { x, y } =>` ends in braces itself.
    let last = arrow.saturating_sub(1);
    tokens[..last]
        .iter()
        .rposition(is_before)
        .map_or(0, |at| at + 1)
}

/// How many tokens an item takes, up to its body or its `;`.
fn item(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| is_punct(Some(token), ';') || is_block(token);
    (position(tokens, is_end) + 1).min(tokens.len())
}

/// Whether a name is a field, or the end or the begin of a path.
fn is_part(tokens: &[TokenTree], at: usize) -> bool {
    at > 0 && (is_punct(tokens.get(at - 1), '.') || is_punct(tokens.get(at - 1), ':'))
}

/// `[cfg(..)]` and `[cfg_attr(..)]`.
fn is_cfg(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else {
        return false;
    };
    group.delimiter() == Delimiter::Bracket
        && group
            .stream()
            .into_iter()
            .next()
            .is_some_and(|word| is_word(&word, "cfg") || is_word(&word, "cfg_attr"))
}

fn is_block(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_group(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(_)))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The place of the first such token, or the end.
fn position(tokens: &[TokenTree], is: impl Fn(&TokenTree) -> bool) -> usize {
    tokens.iter().position(is).unwrap_or(tokens.len())
}

/// Every name in a pattern, whatever it is there.
fn names(tokens: &[TokenTree]) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(name) => found.push(name.to_string()),
            TokenTree::Group(group) => found.extend(all_names(group)),
            _ => {}
        }
    }
    found.into_iter()
}

fn all_names(group: &Group) -> Vec<String> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    names(&tokens).collect()
}

#[cfg(test)]
mod tests;
