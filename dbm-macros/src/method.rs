//! One method. Its body is not parsed, so a body that is only half typed still expands.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{
    AttrStyle, Attribute, FnArg, Ident, Pat, PatType, ReturnType, Signature, Token, Type,
    Visibility,
};

/// An associated function as the user wrote it.
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// The body as a block. A declaration in a trait has none.
    pub(crate) body: Option<Group>,
}

impl Parse for Method {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            return Ok(Self {
                attributes,
                visibility,
                signature,
                body: None,
            });
        }
        let TokenTree::Group(braces) = input.parse()? else {
            return Err(input.error("expected a body"));
        };
        let braces = ungrouped(braces);
        let parser = |content: ParseStream<'_>| {
            let inner = content.call(Attribute::parse_inner)?;
            Ok((inner, content.parse::<TokenStream>()?))
        };
        let (inner, statements) = syn::parse::Parser::parse2(parser, braces.stream())?;
        // An attribute inside the braces is one of the whole method, not of the block that the body becomes.
        attributes.extend(inner.into_iter().map(|attribute| Attribute {
            style: AttrStyle::Outer,
            ..attribute
        }));
        // The braces are generated ones, located at the user's. Errors are reported there, and no lint takes the block
        // for one that the user wrote.
        let mut body = Group::new(Delimiter::Brace, statements);
        body.set_span(Span::mixed_site().located_at(braces.span()));
        Ok(Self {
            attributes,
            visibility,
            signature,
            body: Some(body),
        })
    }
}

/// If a macro passes the body on as `$body:block`, the braces are inside an invisible group.
fn ungrouped(group: Group) -> Group {
    let mut content = group.stream().into_iter();
    match (group.delimiter(), content.next(), content.next()) {
        (Delimiter::None, Some(TokenTree::Group(braces)), None) => ungrouped(braces),
        _ => group,
    }
}

impl Method {
    /// The parameters after the receiver.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &PatType> {
        self.signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(parameter) => Some(parameter),
                FnArg::Receiver(_) => None,
            })
    }

    /// The declared return type.
    pub(crate) fn declared(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, declared) => Some(declared),
        }
    }
}

/// The name of a parameter whose pattern is a plain name.
pub(crate) fn parameter_name(parameter: &PatType) -> Option<&Ident> {
    match &*parameter.pat {
        Pat::Ident(name) if name.subpat.is_none() => Some(&name.ident),
        _ => None,
    }
}
