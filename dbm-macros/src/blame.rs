//! Where the compiler's lifetime errors about a body stand.
//!
//! The body becomes an async closure. What it lends to a thread or a task for too long is an error on that closure as a
//! whole, whatever in it is wrong. So the whole closure is placed where the user's mistake most probably is.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// The arguments of the first `.call(..)`, `spawn(..)` or the like that mentions one of `borrowed`; otherwise the body.
pub(crate) fn place(body: &Group, borrowed: &[&Ident]) -> Span {
    sent(body.stream(), borrowed).unwrap_or_else(|| body.span())
}

fn sent(tokens: TokenStream, borrowed: &[&Ident]) -> Option<Span> {
    let mut sends = false;
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let arguments = sends && group.delimiter() == Delimiter::Parenthesis;
            if arguments && mentions(group.stream(), borrowed) {
                return Some(group.span());
            }
            if let Some(inner) = sent(group.stream(), borrowed) {
                return Some(inner);
            }
        }
        sends = matches!(&token, TokenTree::Ident(name) if name == "call" || is_spawn(name));
    }
    None
}

/// `spawn`, `spawn_blocking`, `spawn_local`, ..
fn is_spawn(name: &Ident) -> bool {
    name.to_string().starts_with("spawn")
}

fn mentions(tokens: TokenStream, names: &[&Ident]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == "self" || names.contains(&&name),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}
