//! Finds the bodies that run one statement at most. Such a statement needs no transaction around it.

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
pub(crate) fn reads_once(body: TokenStream, handle: &str) -> bool {
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

/// Whether the body of a write runs one `execute` and then returns, and nothing can fail after that statement. SQLite may
/// then commit it at once.
///
/// It names values and compares the result, no more: it calls nothing, and makes nothing that would be dropped later.
pub(crate) fn writes_once(body: TokenStream, handle: &str) -> bool {
    let mut tokens = Vec::new();
    flatten(body, &mut tokens);
    let named = places(&tokens, handle);
    let awaits = places(&tokens, "await");
    let ([named], [awaits]) = (&named[..], &awaits[..]) else {
        return false;
    };
    let result = match &tokens[..*named] {
        [] => None,
        [ok, open] if ok == "Ok" && open == "(" => None,
        [word, name, equals] if word == "let" && equals == "=" => Some(name),
        _ => return false,
    };
    let statement = &tokens[*named..*awaits];
    let [_, dot, execute, open, arguments @ .., close, last_dot] = statement else {
        return false;
    };
    let is_execute = [dot, execute, open, close, last_dot] == [".", "execute", "(", ")", "."]
        && after_group(statement, 3) == Some(statement.len() - 1);
    is_execute && names_values(arguments) && returns(&tokens[awaits + 1..], result)
}

/// Whether tokens do no more than to return, or compare, the `result` of a statement.
fn returns(tokens: &[String], result: Option<&String>) -> bool {
    let is_macro = tokens
        .windows(2)
        .any(|pair| pair[0] == "!" && pair[1] != "=");
    !is_macro
        && tokens.iter().all(|token| {
            RETURNS.contains(&token.as_str()) || Some(token) == result || is_number(token)
        })
}

/// With these nothing can fail.
const RETURNS: [&str; 9] = ["?", ";", "Ok", "(", ")", "=", "!", "<", ">"];

/// Whether tokens are names and literals, borrowed or not, in tuples.
fn names_values(tokens: &[String]) -> bool {
    let is_name =
        |token: &str| token.starts_with(|first: char| first == '_' || first.is_alphabetic());
    let is_constant = |token: &str| token.starts_with(char::is_uppercase);
    let mut is_borrowed = false;
    tokens.iter().enumerate().all(|(place, token)| {
        let before = place.checked_sub(1).map_or("", |before| &tokens[before]);
        match token.as_str() {
            // Otherwise it would be a call.
            "(" => ["", ",", "("].contains(&before),
            "&" | "," => {
                is_borrowed = token == "&";
                true
            }
            ")" | "." | ":" => true,
            // A constant that is borrowed is made here, and dropped after the statement.
            token if is_borrowed && is_constant(token) => false,
            token => is_name(token) || is_number(token) || token.ends_with(['"', '#']),
        }
    })
}

fn is_number(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_digit())
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
    use super::{reads_once, writes_once};

    fn is_one(body: &str) -> bool {
        reads_once(body.parse().unwrap(), "db")
    }

    fn writes_one(body: &str) -> bool {
        writes_once(body.parse().unwrap(), "db")
    }

    #[test]
    fn a_body_that_writes_once_and_returns_is_found() {
        for body in [
            "db.execute(SQL, (id, name)).await",
            "db.execute(\"INSERT INTO t VALUES (?1, 'x()')\", (self.id, &name, 1, true)).await?; Ok(())",
            "db.execute(r#\"DELETE FROM t\"#, ()).await?; Ok(())",
            "Ok(db.execute(SQL, (id,)).await? > 0)",
            "let changed = db.execute(sql::SQL, (&self.name,)).await?; Ok(changed != 1)",
        ] {
            assert!(writes_one(body), "{body}");
        }
    }

    /// Its work is kept before its body is over, so the call must not fail any more.
    #[test]
    fn a_body_that_may_fail_after_its_write_is_not_taken_for_one_that_writes_once() {
        for body in [
            "",
            "Ok(())",
            "db.execute(A, ()).await?; Err(Full)",
            "db.execute(A, ()).await?; check()?; Ok(())",
            "db.execute(A, ()).await?; db.execute(B, ()).await",
            "db.execute(A, ()).await?; panic!()",
            "let n = db.execute(A, ()).await?; Ok(1 / n)",
            "let n = db.execute(A, ()).await?; n!()",
            "let n = db.execute(A, ()).await?; assert(n > 0); Ok(())",
            "let guard = Guard; db.execute(A, ()).await",
            "check(); db.execute(A, ()).await",
            "if full { return Err(Full); } db.execute(A, ()).await",
            "db.execute(A, (make(),)).await",
            "db.execute(A, (&Made {},)).await",
            "db.execute(A, (&made::MADE,)).await",
            "db.execute(A, (id.to_string(),)).await",
            "db.execute(A, (self.a + self.b,)).await",
            "db.execute(A, (ids[0],)).await",
            "db.execute(A, ()).await.map(work)",
            "db.execute(A, ()).map(work).await",
            "db.execute(&format!(\"{a}\"), ()).await",
            "db.execute_many(A, rows).await",
            "db.query_one(A, ()).await",
            "self.db.execute(A, ()).await",
            "loop { db.execute(A, ()).await?; }",
        ] {
            assert!(!writes_one(body), "{body}");
        }
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
