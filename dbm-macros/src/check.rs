//! Every rule, and every sentence a user reads when one is broken.
//!
//! A sentence stands on the token that is wrong and says what to write. A broken rule about the attributes leaves a
//! method that can be expanded without them; a broken rule about the signature leaves only its outside, see
//! [`Plan::sound`].

use crate::attributes::{Attributes, Kind};
use crate::method::{Method, bare, last_segment, parameter_name};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    GenericArgument, GenericParam, Ident, Pat, PatType, PathArguments, Receiver, ReceiverKind, ReturnType, Token, Type, TypeParamBound,
};

pub(crate) const DURATION: &str = "write a duration above zero: \"250ms\", \"5s\", \"2m\" or \"1h\"";
const HANDLES: [&str; 3] = ["ReadTransaction", "WriteTransaction", "Connection"];

/// How an attribute is written.
pub(crate) fn usage(kind: Kind) -> &'static str {
    match kind {
        Kind::DatabaseSafe => "write `#[database_safe]` or `#[database_safe(timeout = \"5s\")]`",
        Kind::Timed => "write `#[timed]` or `#[timed(slow = \"100ms\")]`",
        Kind::RequiredArgument => "name the parameters of which one must be given: `#[required_argument(a, b)]`",
        Kind::FailValue => "give the one expression the caller gets on failure: `#[fail_value(None)]`",
        Kind::FailWithException => "it takes no arguments: write `#[fail_with_exception]`",
        Kind::DuringInit => "it takes no arguments: write `#[during_init]`",
    }
}

pub(crate) fn duplicate(kind: Kind) -> String {
    format!("remove this second `#[{}]`", kind.name())
}

fn alone(kind: Kind) -> String {
    format!("`#[{}]` changes what `#[database_safe]` does: write both on the method, under their own names", kind.name())
}

pub(crate) fn not_a_method(kind: Kind) -> String {
    format!("`#[{}]` stands on a method: move it to an `async fn` with a body", kind.name())
}

/// The errors of one method, collected.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    fn push_on(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            None => self.0 = Some(error),
            Some(first) => first.combine(error),
        }
    }

    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.0.as_ref().map(syn::Error::to_compile_error).unwrap_or_default()
    }
}

/// The `db` parameter: where it stands, its pattern, and the type behind its `&mut`.
pub(crate) struct Handle {
    pub(crate) place: usize,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
}

/// A method as far as it was understood.
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) attributes: Attributes,
    /// Whether the call walks dbm's street; a method that is only timed does not.
    pub(crate) database: bool,
    pub(crate) handle: Option<Handle>,
    /// Whether the body can stand inside what is generated.
    pub(crate) sound: bool,
    pub(crate) errors: Errors,
}

/// Applies every rule.
pub(crate) fn check(method: Method, attributes: Attributes, errors: Errors) -> Plan {
    let modifiers = [
        (attributes.fail_value.as_ref().map(|(span, _)| *span), Kind::FailValue),
        (attributes.fail_with_exception, Kind::FailWithException),
        (attributes.during_init, Kind::DuringInit),
    ];
    let modifier = modifiers.iter().find_map(|(span, kind)| span.map(|span| (span, *kind)));
    let handle = find_handle(&method);
    let database = attributes.database_safe.is_some() || (modifier.is_some() && handle.is_some());
    let handle = handle.filter(|_| database);
    let mut plan = Plan { method, attributes, database, handle, sound: true, errors };
    if let (None, Some((span, kind))) = (plan.attributes.database_safe, modifier) {
        plan.errors.push(span, alone(kind));
        plan.sound = database;
    }
    plan.check_signature();
    plan.check_required_arguments();
    plan.check_fail_value();
    plan
}

impl Plan {
    fn broken(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.sound = false;
        self.errors.push_on(tokens, message);
    }

    fn check_signature(&mut self) {
        let signature = &self.method.signature;
        let (name, function) = (signature.ident.clone(), signature.fn_token);
        let receiver = signature.receiver().cloned();
        if is_async_trait(&self.method) {
            return self.broken(name, "remove `#[async_trait]`, which hides this body: a trait may have native `async fn`s");
        }
        if self.method.body.is_none() {
            return self.broken(name, "there is no body here: move the attributes to the method of the impl");
        }
        if signature.asyncness.is_none() {
            self.check_future(&name, function);
        }
        if self.database {
            self.check_receiver(receiver.as_ref(), &name);
            self.check_handle(receiver.as_ref(), &name);
        }
        if self.database || self.attributes.required_argument.is_some() {
            self.check_result();
        }
    }

    /// `fn -> impl Future<Output = T>` goes on as the `async fn -> T` it should be.
    fn check_future(&mut self, name: &Ident, function: Token![fn]) {
        let output = self.method.declared().and_then(future_output).cloned();
        let message = match &output {
            Some(output) => format!("an annotated method is async: write `async fn {name}` and `-> {}`", shown(output)),
            None => format!("an annotated method is async: write `async fn {name}`"),
        };
        if let (Some(output), ReturnType::Type(_, declared)) = (output, &mut self.method.signature.output) {
            **declared = output;
        }
        self.broken(function, message);
    }

    fn check_receiver(&mut self, receiver: Option<&Receiver>, name: &Ident) {
        match receiver {
            None => self.broken(name, format!("a call runs on its manager: write `{name}(&self, ..)`")),
            Some(receiver) if !is_shared(receiver) => {
                self.broken(receiver, "calls share their manager: write `&self` or `self: &Arc<Self>`");
            }
            Some(_) => {}
        }
    }

    fn check_handle(&mut self, receiver: Option<&Receiver>, name: &Ident) {
        let parameters: Vec<PatType> = self.method.parameters().cloned().collect();
        let Some(handle) = &self.handle else {
            let message = "the body needs a handle: add `db: &mut ReadTransaction` (or `WriteTransaction`) after `&self`";
            return match receiver {
                Some(receiver) => self.broken(receiver, message),
                None if self.sound => self.broken(name, message),
                None => {}
            };
        };
        let place = handle.place;
        let found = &parameters[place];
        if place > 0 && receiver.is_some() {
            self.broken(&found.pat, "the handle comes first: move this parameter to right after `&self`");
        }
        if !is_mutable_reference(&found.ty) {
            let shown = handle_name(&found.ty).unwrap_or_default();
            self.broken(&found.ty, format!("a handle is borrowed: write `&mut {shown}`"));
        }
        for other in parameters.iter().skip(place + 1).filter(|other| handle_name(&other.ty).is_some()) {
            self.broken(&other.pat, "a call has one handle: remove this parameter (a `WriteTransaction` reads, too)");
        }
    }

    fn check_result(&mut self) {
        let name = self.method.signature.ident.clone();
        match self.method.declared().cloned() {
            None => self.broken(name, "a call can fail: declare `-> Result<()>`"),
            Some(declared) if !is_fallible(&declared) => {
                let shown = shown(&declared);
                let message = match self.attributes.fail_value {
                    Some(_) => format!("declare what the body returns, `Result<{shown}>`: the caller gets the `{shown}`"),
                    None => format!("a call can fail: declare `-> Result<{shown}>`"),
                };
                self.broken(declared, message);
            }
            Some(declared) => self.check_exception_place(&declared),
        }
    }

    /// With both policies the value ends in a place for the cause.
    fn check_exception_place(&mut self, declared: &Type) {
        let (Some(_), Some(_)) = (&self.attributes.fail_value, self.attributes.fail_with_exception) else { return };
        let Some(value) = value_type(declared) else { return };
        let fits = match bare(value) {
            Type::Tuple(tuple) => {
                let last = tuple.elems.last();
                (1..=12).contains(&tuple.elems.len()) && !last.is_none_or(|last| is_plainly_not(last, "Option"))
            }
            other => !is_plainly_not(other, ""),
        };
        if !fits {
            let message = "with both failure attributes the value is a tuple of at most 12 that ends in `Option<E>`, E being the error of the `Result`";
            self.errors.push_on(value, message);
            self.sound = false;
        }
    }

    fn check_required_arguments(&mut self) {
        let Some((_, names)) = &mut self.attributes.required_argument else { return };
        let handle = self.handle.as_ref().map(|handle| handle.place);
        let parameters: Vec<&PatType> =
            self.method.parameters().enumerate().filter(|(place, _)| Some(*place) != handle).map(|(_, parameter)| parameter).collect();
        let mut known: Vec<Ident> = Vec::new();
        for name in names.drain(..) {
            let parameter = parameters.iter().find(|parameter| parameter_name(parameter) == Some(&name));
            match parameter {
                _ if known.contains(&name) => self.errors.push_on(&name, format!("`{name}` is named twice: remove this one")),
                None => self.errors.push_on(&name, unknown_parameter(&name, &parameters)),
                Some(parameter) if is_plainly_not(&parameter.ty, "Option") => {
                    let shown = shown(&parameter.ty);
                    self.errors.push_on(&name, format!("`{name}` is always given: make the parameter `{name}: Option<{shown}>`"));
                }
                Some(_) => known.push(name),
            }
        }
        *names = known;
    }

    fn check_fail_value(&mut self) {
        let Some((_, expression)) = &mut self.attributes.fail_value else { return };
        let db = self.handle.as_ref().and_then(|handle| match &handle.pattern {
            Pat::Ident(pattern) => Some(&pattern.ident),
            _ => None,
        });
        if let Some((place, message)) = forbidden(expression.clone(), db) {
            self.errors.push(place, message);
            *expression = quote!(loop {});
        }
    }
}

/// What a fail value cannot do: it is made after the call, synchronously, for a caller that gets no error.
fn forbidden(expression: TokenStream, db: Option<&Ident>) -> Option<(Span, String)> {
    let tokens: Vec<TokenTree> = expression.into_iter().collect();
    let is = |place: Option<usize>, sign: char| {
        place.and_then(|place| tokens.get(place)).is_some_and(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign))
    };
    tokens.iter().enumerate().find_map(|(place, token)| match token {
        TokenTree::Group(group) => forbidden(group.stream(), db),
        TokenTree::Punct(punct) if punct.as_char() == '?' => {
            Some((punct.span(), "a fail value cannot fail itself: write an expression without `?`".to_owned()))
        }
        TokenTree::Ident(ident) if ident == "await" && is(place.checked_sub(1), '.') => {
            Some((ident.span(), "a fail value is made at once: write an expression without `.await`".to_owned()))
        }
        TokenTree::Ident(ident) if Some(ident) == db && !is(place.checked_sub(1), '.') && !is(Some(place + 1), ':') => {
            Some((ident.span(), format!("`{ident}` is gone when the fail value is made: write an expression without it")))
        }
        _ => None,
    })
}

fn unknown_parameter(name: &Ident, parameters: &[&PatType]) -> String {
    let optional: Vec<String> = parameters
        .iter()
        .filter(|parameter| last_segment(&parameter.ty).is_some_and(|(last, _)| last == "Option"))
        .filter_map(|parameter| parameter_name(parameter).map(|name| format!("`{name}`")))
        .collect();
    match optional.as_slice() {
        [] => format!("the caller gives no `{name}`: add a parameter `{name}: Option<..>`"),
        _ => format!("the caller gives no `{name}`: name one of {}", optional.join(", ")),
    }
}

/// The first parameter if it is `&mut`, else the one whose type is named like a handle.
fn find_handle(method: &Method) -> Option<Handle> {
    let parameters: Vec<&PatType> = method.parameters().collect();
    let named = parameters.iter().position(|parameter| handle_name(&parameter.ty).is_some());
    let place = named.or_else(|| {
        let first = parameters.first()?;
        (is_mutable_reference(&first.ty) && !is_plainly_not(&first.ty, "")).then_some(0)
    })?;
    let parameter = parameters[place];
    Some(Handle { place, pattern: (*parameter.pat).clone(), ty: pointee(&parameter.ty).clone() })
}

fn handle_name(ty: &Type) -> Option<String> {
    let (last, _) = last_segment(pointee(ty))?;
    HANDLES.iter().any(|name| last == name).then(|| last.to_string())
}

fn is_mutable_reference(ty: &Type) -> bool {
    matches!(bare(ty), Type::Reference(reference) if reference.mutability.is_some())
}

fn pointee(ty: &Type) -> &Type {
    match bare(ty) {
        Type::Reference(reference) => bare(&reference.elem),
        other => other,
    }
}

/// `&self`, `self: &Self` and `self: &Arc<Self>`.
fn is_shared(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => match bare(ty) {
            Type::Reference(reference) if reference.mutability.is_none() => {
                last_segment(&reference.elem).is_some_and(|(last, _)| last == "Self" || last == "Arc")
            }
            _ => false,
        },
        _ => false,
    }
}

/// `#[async_trait]` on the impl or the trait expands first and leaves its lifetime behind.
pub(crate) fn is_async_trait(method: &Method) -> bool {
    method.signature.generics.params.iter().any(
        |parameter| matches!(parameter, GenericParam::Lifetime(lifetime) if lifetime.lifetime.ident == "async_trait"),
    )
}

/// `T` of a declared `Result<T, E>`; none for an alias that does not show it.
pub(crate) fn value_type(declared: &Type) -> Option<&Type> {
    let (last, arguments) = last_segment(declared)?;
    if last == "Result" { arguments.first().copied() } else { None }
}

/// The `T` of `impl Future<Output = T>`.
fn future_output(declared: &Type) -> Option<&Type> {
    let Type::ImplTrait(bounds) = bare(declared) else { return None };
    bounds.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(output) => Some(&output.ty),
            _ => None,
        })
    })
}

/// Whether the declared type can be a `Result`.
pub(crate) fn is_fallible(declared: &Type) -> bool {
    !is_plainly_not(declared, "Result")
}

/// Whether the type is known not to be `wanted`; of an unknown name the compiler decides, it may be an alias.
fn is_plainly_not(ty: &Type, wanted: &str) -> bool {
    const STANDARD: [&str; 38] = [
        "Arc", "BTreeMap", "BTreeSet", "Box", "Cow", "Duration", "HashMap", "HashSet", "Option", "PathBuf", "Rc", "Result",
        "Self", "String", "Vec", "VecDeque", "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "isize", "str",
        "u128", "u16", "u32", "u64", "u8", "usize", "NonZeroU32", "NonZeroU64", "OsString", "Instant", "SystemTime",
    ];
    match bare(pointee(ty)) {
        Type::Path(_) => last_segment(pointee(ty)).is_some_and(|(last, _)| last != wanted && STANDARD.iter().any(|name| last == name)),
        Type::Macro(_) | Type::Verbatim(_) => false,
        _ => true,
    }
}

/// The type as a user would write it.
fn shown(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    [(" < ", "<"), (" >", ">"), (" :: ", "::"), ("& ", "&"), (" ,", ","), ("' ", "'"), (" (", "("), ("( ", "("), (" )", ")")]
        .iter()
        .fold(spaced, |text, (from, to)| text.replace(from, to))
}
