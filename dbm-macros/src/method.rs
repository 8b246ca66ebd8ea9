//! One method, parsed without its body: a body that is only half typed still expands.

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
    /// The body as it was written; none in the declaration of a trait.
    pub(crate) body: Option<Body>,
}

/// The statements between the braces, not parsed.
pub(crate) struct Body {
    braces: Span,
    pub(crate) statements: TokenStream,
}

impl Body {
    /// These tokens between the user's braces, so that their edition rules and their errors are the user's.
    pub(crate) fn braced(&self, tokens: TokenStream) -> Group {
        let mut group = Group::new(Delimiter::Brace, tokens);
        group.set_span(self.braces);
        group
    }
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
        let parser = |content: ParseStream<'_>| {
            let inner = content.call(Attribute::parse_inner)?;
            Ok((inner, content.parse::<TokenStream>()?))
        };
        let (inner, statements) = syn::parse::Parser::parse2(parser, braces.stream())?;
        // An attribute inside the braces speaks for the whole method, not for the block that the body becomes.
        attributes.extend(inner.into_iter().map(|attribute| Attribute {
            style: AttrStyle::Outer,
            ..attribute
        }));
        let body = Body {
            braces: braces.span(),
            statements,
        };
        Ok(Self {
            attributes,
            visibility,
            signature,
            body: Some(body),
        })
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

/// The name of a parameter that is a plain name.
pub(crate) fn parameter_name(parameter: &PatType) -> Option<&Ident> {
    match &*parameter.pat {
        Pat::Ident(name) if name.subpat.is_none() => Some(&name.ident),
        _ => None,
    }
}
