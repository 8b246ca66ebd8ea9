//! The keys of `#[db_manager(version = "1.2.0", schema, checked, after("1.2.0" = Store::seed))]` on a struct.

use crate::version::Version;
use crate::wording;
use proc_macro2::{Span, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::parse::ParseBuffer;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, LitStr, Meta, Path, Result, Token, parenthesized};

/// What the keys say together, each at most once.
#[derive(Default)]
pub(crate) struct Keys {
    /// What is wrong with the first one that could not be read.
    error: Option<Error>,
    version: Option<LitStr>,
    pub(crate) schema: Option<SchemaKey>,
    pub(crate) checked: Option<Checked>,
    pub(crate) after: Vec<After>,
    jobs: Option<Vec<Ident>>,
}

/// `schema`, or `schema = "cache"`.
pub(crate) struct SchemaKey {
    pub(crate) span: Span,
    pub(crate) folder: Option<LitStr>,
}

/// `checked`, or `checked(strict)`.
pub(crate) struct Checked {
    pub(crate) span: Span,
    /// Whether the program registers nothing of its own with its connections.
    #[allow(dead_code, reason = "the feature `checked` reads it")]
    pub(crate) strict: bool,
}

/// `after("1.2.0" = Store::seed)`.
pub(crate) struct After {
    pub(crate) version: Version,
    pub(crate) place: LitStr,
    pub(crate) step: Path,
    pub(crate) span: Span,
}

impl Keys {
    pub(crate) fn read<'a>(attributes: impl Iterator<Item = &'a Attribute>) -> Self {
        let mut keys = Self::default();
        for attribute in attributes {
            let read = keys.read_list(attribute);
            if let (Err(error), None) = (read, &keys.error) {
                keys.error = Some(error);
                // A manager that has asked for its schema is not to be told that it has none.
                keys.schema = keys.schema.or_else(|| schema_word(attribute));
            }
        }
        keys
    }

    /// The version and where it stands; `place` is where one that is missing is told.
    pub(crate) fn version(&self, place: Span) -> Result<(Version, Span)> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.check_company()?;
        let Some(version) = &self.version else {
            return Err(Error::new(place, wording::NO_VERSION));
        };
        Version::parse(&version.value())
            .map(|read| (read, version.span()))
            .ok_or_else(|| Error::new(version.span(), wording::VERSION))
    }

    /// The listed jobs. `None` if the keys cannot be read.
    pub(crate) fn jobs(&self) -> Option<&[Ident]> {
        match self.error {
            Some(_) => None,
            None => Some(self.jobs.as_deref().unwrap_or_default()),
        }
    }

    /// What is no list of keys (`#[db_manager]`, `#[db_manager = "1.0.0"]`, `#[db_manager("1.0.0")]`) names no version.
    fn read_list(&mut self, attribute: &Attribute) -> Result<()> {
        let mut tokens = match &attribute.meta {
            Meta::List(list) => list.tokens.clone().into_iter(),
            other => return Err(Error::new_spanned(other, wording::NO_VERSION)),
        };
        match tokens.next() {
            Some(TokenTree::Literal(first)) => Err(Error::new(first.span(), wording::NO_VERSION)),
            _ => attribute.parse_nested_meta(|meta| self.add(&meta)),
        }
    }

    fn add(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let key = &meta.path;
        let usage = |usage: &'static str| move |error: Error| Error::new(error.span(), usage);
        if key.is_ident("version") && self.version.is_none() {
            let version = meta.value().and_then(ParseBuffer::parse);
            self.version = Some(version.map_err(usage(wording::NO_VERSION))?);
        } else if key.is_ident("schema") && self.schema.is_none() {
            let folder = folder(meta).map_err(usage(wording::SCHEMA_KEY))?;
            let span = key.span();
            self.schema = Some(SchemaKey { span, folder });
        } else if key.is_ident("checked") && self.checked.is_none() {
            let strict = is_strict(meta).map_err(usage(wording::CHECKED_KEY))?;
            let span = key.span();
            self.checked = Some(Checked { span, strict });
        } else if key.is_ident("after") {
            let (place, step) = after(meta).map_err(usage(wording::AFTER_KEY))?;
            self.add_after(place, step)?;
        } else if key.is_ident("jobs") && self.jobs.is_none() {
            let jobs = jobs(meta).map_err(usage(wording::JOBS_KEY))?;
            self.add_jobs(key.span(), jobs)?;
        } else if self.version.is_none() || key.is_ident("version") {
            return Err(Error::new_spanned(key, wording::NO_VERSION));
        } else {
            return Err(Error::new_spanned(key, wording::KEYS));
        }
        Ok(())
    }

    fn add_after(&mut self, place: LitStr, step: Path) -> Result<()> {
        let version = Version::parse(&place.value())
            .ok_or_else(|| Error::new(place.span(), wording::VERSION))?;
        if self.after.iter().any(|after| after.version == version) {
            return Err(Error::new(place.span(), wording::after_twice(version)));
        }
        let span = step.span();
        self.after.push(After {
            version,
            place,
            step,
            span,
        });
        Ok(())
    }

    fn add_jobs(&mut self, place: Span, jobs: Vec<Ident>) -> Result<()> {
        if !crate::JOBS {
            return Err(Error::new(place, wording::NO_JOBS_FEATURE));
        }
        let twice = jobs.iter().enumerate();
        if let Some((_, name)) = twice.skip(1).find(|(at, name)| jobs[..*at].contains(name)) {
            return Err(Error::new(name.span(), wording::listed_twice(name)));
        }
        self.jobs = Some(jobs);
        Ok(())
    }

    /// What means nothing without files.
    fn check_company(&self) -> Result<()> {
        if self.schema.is_some() {
            return Ok(());
        }
        let checked = self.checked.as_ref().map(|checked| checked.span);
        let after = self.after.first().map(|after| after.place.span());
        match checked.or(after) {
            Some(place) => Err(Error::new(place, wording::NO_SCHEMA_KEY)),
            None => Ok(()),
        }
    }
}

/// The key `schema` of an attribute that could not be read.
fn schema_word(attribute: &Attribute) -> Option<SchemaKey> {
    let tokens = attribute.meta.require_list().ok()?.tokens.clone();
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(word) if word == "schema" => Some(SchemaKey {
            span: word.span(),
            folder: None,
        }),
        _ => None,
    })
}

fn folder(meta: &ParseNestedMeta<'_>) -> Result<Option<LitStr>> {
    if !meta.input.peek(Token![=]) {
        return Ok(None);
    }
    let folder: LitStr = meta.value()?.parse()?;
    let name = folder.value();
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', ':', '\0']) {
        return Err(Error::new(folder.span(), ""));
    }
    Ok(Some(folder))
}

fn is_strict(meta: &ParseNestedMeta<'_>) -> Result<bool> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Ok(false);
    }
    let content;
    parenthesized!(content in meta.input);
    let word: Ident = content.parse()?;
    if word == "strict" && content.is_empty() {
        Ok(true)
    } else {
        Err(Error::new(word.span(), ""))
    }
}

fn jobs(meta: &ParseNestedMeta<'_>) -> Result<Vec<Ident>> {
    let content;
    parenthesized!(content in meta.input);
    let jobs = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
    if jobs.is_empty() {
        return Err(content.error(""));
    }
    Ok(jobs.into_iter().collect())
}

fn after(meta: &ParseNestedMeta<'_>) -> Result<(LitStr, Path)> {
    let content;
    parenthesized!(content in meta.input);
    let version = content.parse()?;
    content.parse::<Token![=]>()?;
    let step = content.parse()?;
    if content.is_empty() {
        Ok((version, step))
    } else {
        Err(content.error(""))
    }
}
