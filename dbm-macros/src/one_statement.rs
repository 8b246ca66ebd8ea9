//! Finds the bodies of reads that run one statement at most. Such a statement needs no transaction around it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ext::IdentExt;

/// Statements that are over once they are awaited.
const STATEMENTS: [&str; 4] = ["query", "query_one", "query_optional", "query_map"];
/// With these a body can await more often than it says so.
const REPEATS: [&str; 5] = ["async", "fn", "for", "loop", "while"];

/// Whether a body cannot run more than one statement of its handle, nor call another method after it.
///
/// It has one `.await` at most, on a statement of the handle, which it names nowhere else. There is no loop, no `async`
/// block, no function and no macro, which could do anything. After the statement there is no `self`, which could be asked
/// for another call. If anything is in doubt, the answer is no, and the call has its transaction.
pub(crate) fn runs_one_statement(body: TokenStream, handle: &str) -> bool {
    let mut tokens = Vec::new();
    flatten(body, &mut tokens);
    let repeats = tokens.iter().any(|token| REPEATS.contains(&token.as_str()));
    let has_macro = tokens
        .windows(2)
        .any(|pair| pair[0] == "!" && OPEN.contains(&pair[1].as_str()));
    if repeats || has_macro {
        return false;
    }
    let named = places(&tokens, handle);
    let awaits = places(&tokens, "await");
    match (&named[..], &awaits[..]) {
        ([], []) => true,
        ([named], [awaits]) => is_statement(&tokens, *named, *awaits),
        _ => false,
    }
}

const OPEN: [&str; 3] = ["(", "[", "{"];
const CLOSE: [&str; 3] = [")", "]", "}"];

fn flatten(stream: TokenStream, tokens: &mut Vec<String>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let ends = match group.delimiter() {
                    Delimiter::Parenthesis => Some(0),
                    Delimiter::Bracket => Some(1),
                    Delimiter::Brace => Some(2),
                    Delimiter::None => None,
                };
                tokens.extend(ends.map(|kind| OPEN[kind].to_owned()));
                flatten(group.stream(), tokens);
                tokens.extend(ends.map(|kind| CLOSE[kind].to_owned()));
            }
            TokenTree::Ident(name) => tokens.push(name.unraw().to_string()),
            // A literal cannot be taken for a word: it has quotes or begins with a digit.
            TokenTree::Punct(_) | TokenTree::Literal(_) => tokens.push(token.to_string()),
        }
    }
}

fn places(tokens: &[String], word: &str) -> Vec<usize> {
    let is_it = |place: &usize| tokens[*place] == word;
    (0..tokens.len()).filter(is_it).collect()
}

/// Whether the tokens are `db.query_one(…).await`, from `db` to `await`.
fn is_statement(tokens: &[String], named: usize, awaits: usize) -> bool {
    let is_field = named > 0 && [".", ":"].contains(&tokens[named - 1].as_str());
    let at = |place: usize| tokens.get(place).map_or("", String::as_str);
    let method = at(named + 2);
    if is_field || at(named + 1) != "." || !STATEMENTS.contains(&method) {
        return false;
    }
    let arguments = match at(named + 3) {
        ":" => after_types(tokens, named + 3),
        _ => Some(named + 3),
    };
    let Some(end) = arguments.and_then(|open| after_group(tokens, open)) else {
        return false;
    };
    // The closure of `query_map` runs after the statement.
    let afterwards = if method == "query_map" { named } else { awaits };
    end + 1 == awaits && at(end) == "." && !tokens[afterwards..].iter().any(|token| token == "self")
}

/// The place after `::<…>`.
fn after_types(tokens: &[String], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "<" => depth += 1,
            // An arrow would be in the type of a function, which no row can be.
            ">" => depth -= 1,
            ":" => continue,
            _ => {}
        }
        if depth == 0 {
            return Some(place + 1);
        }
    }
    None
}

/// The place after the parentheses that open here.
fn after_group(tokens: &[String], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        if OPEN.contains(&token.as_str()) {
            depth += 1;
        } else if CLOSE.contains(&token.as_str()) {
            depth -= 1;
        }
        if depth == 0 {
            return (place > open).then_some(place + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::runs_one_statement;

    fn is_one(body: &str) -> bool {
        runs_one_statement(body.parse().unwrap(), "db")
    }

    #[test]
    fn a_body_with_one_statement_is_found() {
        for body in [
            "db.query_one(SQL, (id,)).await",
            "Ok(db.query_one::<Vec<(u8, u8)>>(SQL, (self.id, [1])).await? > 0)",
            "let found: Option<i64> = db.query_optional(SQL, ()).await?; found.ok_or(Missing)",
            "if id == 0 { return Ok(None); } db.query_optional(SQL, (id,)).await",
            "db.query_map(SQL, (), |row| row.get::<String>(0)).await",
            "db.query(r#\"SELECT 'self; db.await!()'\"#, ()).await",
            "Ok(1)",
        ] {
            assert!(is_one(body), "{body}");
        }
    }

    #[test]
    fn a_body_that_may_run_more_is_not_taken_for_one_with_one_statement() {
        for body in [
            "db.query_one(A, ()).await?; db.query_one(B, ()).await",
            "loop { db.query_one(A, ()).await?; }",
            "while more() { db.query(A, ()).await?; }",
            "for id in ids { db.query(A, (id,)).await?; }",
            "let run = async || db.query(A, ()).await; run().await",
            "block_on(async { db.query(A, ()).await })",
            "fn twice() {} db.query(A, ()).await",
            "again!(); db.query(A, ()).await",
            "again![db]; Ok(())",
            "db.query(A, (now!(),)).await",
            "let (a, b) = block_on(db.query(A, ())); Ok(a)",
            "helper(db).await",
            "db.query(A, (self.other().await?,)).await",
            "self.other().await",
            "let row = db.query_one(A, ()).await?; block_on(self.other())",
            "db.query_map(A, (), |_| block_on(self.other())).await",
            "let again = &mut *db; again.query(A, ()).await",
            "self.db.query(A, ()).await",
            "db.call(work).await",
            "db.stream(A, ()).await",
            "db.query(A, ()).boxed().await",
            "db.query(A, ()); other.await",
        ] {
            assert!(!is_one(body), "{body}");
        }
    }
}
