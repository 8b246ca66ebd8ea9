//! `sql!("…")` and `sql!(at "1.2.0", "…")`.

use super::fault::Fault;
use super::text::Text;
use super::{emit, judge, known};
use crate::schema::ROOT;
use crate::version::Version;
use crate::wording;
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Result, Token};

/// What stands in the parentheses.
struct Call {
    at: Option<LitStr>,
    text: TokenStream,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut at = None;
        if input.peek(Ident) && input.peek2(LitStr) {
            let word: Ident = input.parse()?;
            if word != "at" {
                return Err(Error::new(word.span(), ""));
            }
            at = Some(input.parse()?);
            input.parse::<Token![,]>()?;
        }
        let text = input.parse()?;
        Ok(Self { at, text })
    }
}

/// The text itself, beside what is wrong with it.
pub(crate) fn sql(input: TokenStream) -> TokenStream {
    let call: Call = match syn::parse2(input) {
        Ok(call) => call,
        Err(error) => return Error::new(error.span(), wording::SQL).to_compile_error(),
    };
    let mut tokens: Vec<TokenTree> = call.text.into_iter().collect();
    if matches!(tokens.last(), Some(TokenTree::Punct(comma)) if comma.as_char() == ',') {
        tokens.pop();
    }
    let Some(text) = Text::read(&tokens) else {
        let place = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        return Error::new(place, wording::SQL).to_compile_error();
    };
    let tokens: TokenStream = tokens.into_iter().collect();
    let at = call.at.map(|at| match Version::parse(&at.value()) {
        Some(version) => Ok((version, at.span())),
        None => Err(Error::new(at.span(), wording::VERSION)),
    });
    let error = at
        .transpose()
        .and_then(|at| check(&text, at))
        .err()
        .map(|error| error.to_compile_error());
    quote!({ #error #tokens })
}

/// It has to fit one of the folders: whose text it is, nobody knows.
fn check(text: &Text, at: Option<(Version, Span)>) -> Result<()> {
    let judged = known::with(|known| {
        let mut faults = Vec::new();
        let mut seen = false;
        for known in known {
            let version = at.map(|(version, _)| version).or(known.folder.newest());
            let has = |version: &Version| {
                known
                    .folder
                    .files
                    .iter()
                    .any(|file| file.version == *version)
            };
            let Some(version) = version.filter(has) else {
                continue;
            };
            seen = true;
            // What is wrong with the files is said where the manager is.
            let fault = known
                .at(version)
                .and_then(|database| judge::text(database, &text.sql));
            match fault {
                Some(fault) => faults.push((known.folder.path.clone(), fault)),
                None => return Ok(Vec::new()),
            }
        }
        if seen { Ok(faults) } else { Err(()) }
    });
    match judged {
        Some(Ok(faults)) => faults
            .first()
            .map_or(Ok(()), |(_, fault)| Err(error(text, fault, &faults))),
        Some(Err(())) | None => Err(match at {
            Some((version, place)) => Error::new(place, wording::after_nothing(ROOT, version)),
            None => Error::new(text.span, wording::NO_FILES),
        }),
    }
}

fn error(text: &Text, fault: &Fault, faults: &[(String, Fault)]) -> Error {
    let folders: Vec<String> = faults.iter().map(|(path, _)| format!("`{path}`")).collect();
    let message = emit::message(&text.sql, fault);
    let message = format!("{message}\nchecked against {}", folders.join(", "));
    Error::new(text.span, message)
}
