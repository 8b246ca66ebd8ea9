//! What each attribute may say, and how the outermost one collects the others on the method.

use crate::attribute_name::AttributeName;
use crate::errors::Errors;
use crate::wording;
use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::quote;
use syn::LitInt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, LitStr, Meta, Path, Token};

/// One attribute as it was written.
pub(crate) struct Given {
    pub(crate) name: AttributeName,
    pub(crate) span: Span,
    pub(crate) arguments: TokenStream,
}

impl Given {
    /// The outermost attribute. The compiler passes its arguments on, but not its path.
    pub(crate) fn outermost(name: AttributeName, arguments: TokenStream) -> Self {
        Self {
            name,
            span: Span::call_site(),
            arguments,
        }
    }

    pub(crate) fn sibling(attribute: &Attribute) -> Option<Self> {
        let path = attribute.path();
        let name = AttributeName::of(path)?;
        let arguments = match &attribute.meta {
            Meta::Path(_) => TokenStream::new(),
            Meta::List(list) => list.tokens.clone(),
            Meta::NameValue(pair) => {
                let (sign, value) = (pair.eq_token, &pair.value);
                quote!(#sign #value)
            }
        };
        let span = path
            .segments
            .last()
            .map_or_else(Span::call_site, |last| last.ident.span());
        Some(Self {
            name,
            span,
            arguments,
        })
    }

    /// Parses the arguments. Every error, also about what is left over, has one message: how the attribute is written.
    fn parse<T>(&self, grammar: impl FnOnce(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<T> {
        let mut group = Group::new(Delimiter::Parenthesis, self.arguments.clone());
        group.set_span(self.span);
        let parser = |input: ParseStream<'_>| {
            let content;
            syn::parenthesized!(content in input);
            let parsed = grammar(&content)?;
            if content.is_empty() {
                Ok(parsed)
            } else {
                Err(content.error(""))
            }
        };
        parser
            .parse2(quote!(#group))
            .map_err(|error| syn::Error::new(error.span(), wording::usage(self.name)))
    }

    fn nothing(&self) -> syn::Result<()> {
        self.parse(|_| Ok(()))
    }

    /// Nothing, or `key = "5s"`.
    fn duration(&self, key: &str) -> syn::Result<Option<u64>> {
        let text = self.parse(|input| {
            if input.is_empty() {
                return Ok(None);
            }
            let place = input.fork();
            if input.parse::<Ident>()? != key {
                return Err(place.error(""));
            }
            input.parse::<Token![=]>()?;
            let text = input.parse::<LitStr>()?;
            input.parse::<Option<Token![,]>>()?;
            Ok(Some(text))
        })?;
        text.as_ref().map(duration).transpose()
    }

    /// The keys of `#[job]`, each at most once.
    fn job(&self) -> syn::Result<JobKeys> {
        let mut keys = JobKeys::default();
        let mut texts: [(&str, Option<LitStr>); 3] =
            [("backoff", None), ("timeout", None), ("every", None)];
        let mut attempts = None;
        self.parse(|input| {
            while !input.is_empty() {
                let place = input.fork();
                let key = input.parse::<Ident>()?;
                let text = texts.iter_mut().find(|(name, _)| key == name);
                if let Some((_, text @ None)) = text {
                    input.parse::<Token![=]>()?;
                    *text = Some(input.parse()?);
                } else if key == "attempts" && attempts.is_none() {
                    input.parse::<Token![=]>()?;
                    attempts = Some(input.parse::<LitInt>()?);
                } else if key == "unique" && keys.unique.is_none() {
                    keys.unique = Some((key.span(), parenthesized_names(input)?));
                } else {
                    return Err(place.error(""));
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        })?;
        if let Some(attempts) = attempts {
            let number = attempts.base10_parse().ok().filter(|number| *number > 0);
            let wrong = || syn::Error::new(attempts.span(), wording::ATTEMPTS);
            keys.attempts = Some(number.ok_or_else(wrong)?);
        }
        let [(_, backoff), (_, timeout), (_, every)] = texts;
        keys.every = every
            .map(|text| Ok::<_, syn::Error>((text.span(), duration(&text)?)))
            .transpose()?;
        keys.backoff = backoff.as_ref().map(duration).transpose()?;
        keys.timeout = timeout.as_ref().map(duration).transpose()?;
        Ok(keys)
    }

    /// `a, b`.
    fn names(&self) -> syn::Result<Vec<Ident>> {
        self.parse(|input| {
            let names = Punctuated::<Ident, Token![,]>::parse_terminated(input)?;
            if names.is_empty() {
                Err(input.error(""))
            } else {
                Ok(names.into_iter().collect())
            }
        })
    }

    /// One expression, kept as the user's own tokens. `value = None` is an assignment, and nobody means one.
    fn expression(&self) -> syn::Result<TokenStream> {
        self.parse(|input| {
            let place = input.fork();
            match Expr::parse(input)? {
                Expr::Assign(_) => Err(place.error("")),
                _ => Ok(self.arguments.clone()),
            }
        })
    }
}

/// What `#[job]` says.
#[derive(Default)]
pub(crate) struct JobKeys {
    pub(crate) attempts: Option<u32>,
    pub(crate) backoff: Option<u64>,
    pub(crate) timeout: Option<u64>,
    pub(crate) every: Option<(Span, u64)>,
    /// The parameters that make it unique; all of them, if none is named.
    pub(crate) unique: Option<(Span, Vec<Ident>)>,
}

/// `(a, b)`, or nothing.
fn parenthesized_names(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    if !input.peek(syn::token::Paren) {
        return Ok(Vec::new());
    }
    let content;
    syn::parenthesized!(content in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
    if names.is_empty() {
        return Err(content.error(""));
    }
    Ok(names.into_iter().collect())
}

/// What all the attributes of one method say. Each may be given once.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) database_safe: Option<Span>,
    pub(crate) timeout: Option<u64>,
    pub(crate) required_argument: Option<(Span, Vec<Ident>)>,
    pub(crate) fail_value: Option<(Span, TokenStream)>,
    pub(crate) fail_with_exception: Option<Span>,
    pub(crate) timed: Option<Span>,
    pub(crate) slow: Option<u64>,
    pub(crate) during_init: Option<Span>,
    pub(crate) job: Option<(Span, JobKeys)>,
}

impl Attributes {
    /// Reads what it can. What is wrong goes to `errors`, and that attribute counts as given without arguments.
    pub(crate) fn read(given: &[Given], errors: &mut Errors) -> Self {
        let mut read = Self::default();
        for (place, one) in given.iter().enumerate() {
            if given[..place]
                .iter()
                .any(|earlier| earlier.name == one.name)
            {
                errors.push(one.span, wording::duplicate(one.name));
                continue;
            }
            if let Err(error) = read.add(one) {
                errors.add(error);
            }
        }
        read
    }

    /// An attribute that means nothing without `#[database_safe]`.
    pub(crate) fn modifier(&self) -> Option<(Span, AttributeName)> {
        let fail_value = self
            .fail_value
            .as_ref()
            .map(|(span, _)| (*span, AttributeName::FailValue));
        let exception = self
            .fail_with_exception
            .map(|span| (span, AttributeName::FailWithException));
        let during_init = self
            .during_init
            .map(|span| (span, AttributeName::DuringInit));
        fail_value.or(exception).or(during_init)
    }

    fn add(&mut self, one: &Given) -> syn::Result<()> {
        match one.name {
            AttributeName::DatabaseSafe => {
                self.database_safe = Some(one.span);
                self.timeout = one.duration("timeout")?;
            }
            AttributeName::Timed => {
                self.timed = Some(one.span);
                self.slow = one.duration("slow")?;
            }
            AttributeName::RequiredArgument => {
                self.required_argument = Some((one.span, one.names()?));
            }
            AttributeName::FailValue => {
                self.fail_value = Some((one.span, quote!(loop {})));
                self.fail_value = Some((one.span, one.expression()?));
            }
            AttributeName::FailWithException => {
                self.fail_with_exception = Some(one.span);
                one.nothing()?;
            }
            AttributeName::DuringInit => {
                self.during_init = Some(one.span);
                one.nothing()?;
            }
            AttributeName::Job => {
                self.job = Some((one.span, JobKeys::default()));
                self.job = Some((one.span, one.job()?));
            }
        }
        Ok(())
    }
}

/// Removes our attributes from `attributes`, and returns what they say and their paths.
pub(crate) fn take_siblings(attributes: &mut Vec<Attribute>) -> (Vec<Given>, Vec<Path>) {
    let mut paths = Vec::new();
    let mut siblings = Vec::new();
    attributes.retain(|attribute| match Given::sibling(attribute) {
        Some(given) => {
            siblings.push(given);
            paths.push(attribute.path().clone());
            false
        }
        None => true,
    });
    (siblings, paths)
}

fn duration(text: &LitStr) -> syn::Result<u64> {
    milliseconds(&text.value()).ok_or_else(|| syn::Error::new(text.span(), wording::DURATION))
}

/// The milliseconds of `"250ms"`, `"5s"`, `"2m"`, `"1h"`. Nothing else is a
/// duration here, nor is zero.
fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|&milliseconds| milliseconds > 0)
}
