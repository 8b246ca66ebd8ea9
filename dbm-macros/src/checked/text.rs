//! A text as it is written: plain, raw, put together, or checked by `sql!`.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{LitStr, Token};

/// A statement's text, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) sql: String,
    pub(super) span: Span,
    /// What is wrong with it in every schema, `sql!` says itself.
    pub(super) is_checked: bool,
}

impl Text {
    /// Of the tokens of one expression; none if it is anything but a text.
    pub(super) fn read(tokens: &[TokenTree]) -> Option<Self> {
        match tokens {
            [TokenTree::Group(group)] if group.delimiter() == Delimiter::None => {
                Self::read(&group.stream().into_iter().collect::<Vec<_>>())
            }
            [literal @ TokenTree::Literal(_)] => {
                let literal: LitStr = syn::parse2(literal.clone().into()).ok()?;
                Some(Self {
                    sql: literal.value(),
                    span: literal.span(),
                    is_checked: false,
                })
            }
            [
                ..,
                TokenTree::Ident(name),
                TokenTree::Punct(bang),
                TokenTree::Group(group),
            ] if bang.as_char() == '!' && is_path(&tokens[..tokens.len() - 3]) => {
                let content = group.stream();
                let text = if name == "concat" {
                    concat(content)?
                } else if name == "sql" {
                    let content: Vec<TokenTree> = content.into_iter().collect();
                    let is_checked = true;
                    return Self::read(&content).map(|text| Self { is_checked, ..text });
                } else {
                    return None;
                };
                Some(Self {
                    sql: text,
                    span: group.span(),
                    is_checked: false,
                })
            }
            _ => None,
        }
    }
}

/// `::core::`, or nothing.
fn is_path(tokens: &[TokenTree]) -> bool {
    tokens.iter().all(|token| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        _ => false,
    })
}

fn concat(content: TokenStream) -> Option<String> {
    let parts = Punctuated::<LitStr, Token![,]>::parse_terminated;
    let parts = parts.parse2(content).ok()?;
    Some(parts.iter().map(LitStr::value).collect())
}
