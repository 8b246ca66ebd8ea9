//! Every rule. A broken one is reported on the token that is wrong, in the words of `wording`.
//!
//! If a rule about the attributes is broken, the method can still be expanded, without them. If a rule about the
//! signature is broken, only the signature is emitted: see [`Plan::sound`].

use crate::attribute_name::AttributeName;
use crate::attributes::Attributes;
use crate::errors::Errors;
use crate::method::{Method, parameter_name};
use crate::types::{
    bare, future_output, handle_name, is_fallible, is_mutable_reference, is_plainly_not,
    last_segment, mentions_handle, pointee, shown, value_type,
};
use crate::wording;
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use std::fmt::Display;
use syn::{
    Error, GenericParam, Ident, Pat, PatType, Receiver, ReceiverKind, ReturnType, Type, Visibility,
};

/// The `db` parameter: its place after the receiver, its pattern, and the type behind its `&mut`.
pub(crate) struct Handle {
    pub(crate) place: usize,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
}

/// What was understood of a method.
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) attributes: Attributes,
    /// Whether it is a database call. A method that is only timed is not.
    pub(crate) database: bool,
    pub(crate) handle: Option<Handle>,
    /// Whether the body can be put into the generated code.
    pub(crate) sound: bool,
    pub(crate) errors: Errors,
}

/// Applies every rule.
pub(crate) fn check(method: Method, attributes: Attributes, mut errors: Errors) -> Plan {
    let modifier = attributes.modifier();
    let handle = find_handle(&method);
    if let Some(span) = attributes.database_safe.or(modifier.map(|(span, _)| span))
        && is_hook(&method)
    {
        return hook(method, errors, span);
    }
    let database = attributes.database_safe.is_some() || (modifier.is_some() && handle.is_some());
    let mut sound = true;
    if let (None, Some((span, name))) = (attributes.database_safe, modifier) {
        errors.push(span, wording::modifier_alone(name));
        sound = database;
    }
    let handle = handle.filter(|_| database);
    let mut plan = Plan {
        method,
        attributes,
        database,
        handle,
        sound,
        errors,
    };
    if is_async_trait(&plan.method) {
        plan.broken(plan.name(), wording::ASYNC_TRAIT);
    } else if plan.method.body.is_none() {
        plan.broken(plan.name(), wording::NO_BODY);
    } else {
        plan.check_signature();
    }
    plan.check_required_arguments();
    plan.check_fail_value();
    plan.check_job();
    plan
}

impl Plan {
    fn broken(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.sound = false;
        self.errors.push_on(tokens, message);
    }

    fn name(&self) -> Ident {
        self.method.signature.ident.clone()
    }

    fn check_signature(&mut self) {
        self.check_async();
        if self.database {
            let receiver = self.method.signature.receiver().cloned();
            self.check_receiver(receiver.as_ref());
            self.check_handle(receiver.as_ref());
        }
        if self.database || self.attributes.required_argument.is_some() {
            self.check_result();
        }
        if self.attributes.job.is_some() && !self.database {
            let receiver = self.method.signature.receiver().cloned();
            self.check_receiver(receiver.as_ref());
            if self.attributes.required_argument.is_none() {
                self.check_result();
            }
        }
        self.check_exception_place();
    }

    /// After the error, `fn -> impl Future<Output = T>` is treated as the `async fn -> T` that it should be.
    fn check_async(&mut self) {
        let constant = self.method.signature.constness.take();
        if self.method.signature.asyncness.is_some() {
            return constant.map_or((), |constant| self.broken(constant, wording::CONSTANT));
        }
        let output = self.method.declared().and_then(future_output).cloned();
        let message = wording::not_async(&self.name(), output.as_ref().map(shown).as_deref());
        match constant {
            Some(constant) => self.broken(constant, message),
            None => self.broken(self.method.signature.fn_token, message),
        }
        if let (Some(output), ReturnType::Type(_, declared)) =
            (output, &mut self.method.signature.output)
        {
            **declared = output;
        }
    }

    fn check_receiver(&mut self, receiver: Option<&Receiver>) {
        match receiver {
            None => self.broken(self.name(), wording::no_self(&self.name())),
            Some(receiver) if !is_shared(receiver) => self.broken(receiver, wording::RECEIVER),
            Some(_) => {}
        }
    }

    fn check_handle(&mut self, receiver: Option<&Receiver>) {
        let Some(place) = self.handle.as_ref().map(|handle| handle.place) else {
            // A missing receiver has been reported already, and the handle goes after it.
            return receiver.map_or((), |receiver| self.broken(receiver, wording::NO_HANDLE));
        };
        let mut parameters: Vec<PatType> = self.method.parameters().skip(place).cloned().collect();
        let handle = parameters.remove(0);
        if place > 0 && receiver.is_some() {
            self.broken(&handle.pat, wording::HANDLE_FIRST);
        }
        match handle_name(&handle.ty) {
            Some(name) if !is_mutable_reference(&handle.ty) => {
                self.broken(&handle.ty, wording::handle_borrowed(&name));
            }
            None if !could_be_handle(&handle.ty) => {
                self.broken(&handle.ty, wording::HANDLE_TYPE);
            }
            _ => {}
        }
        for other in parameters {
            if handle_name(&other.ty).is_some() {
                self.broken(&other.pat, wording::ONE_HANDLE);
            } else if let Some(name) = parameter_name(&other)
                && Some(name) == parameter_name(&handle)
            {
                self.broken(name, wording::named_like_the_handle(name));
            }
        }
    }

    fn check_result(&mut self) {
        match self.method.declared().cloned() {
            None => self.broken(self.name(), wording::NO_RESULT),
            Some(declared) if !is_fallible(&declared) => {
                let message = match self.attributes.fail_value {
                    Some(_) => wording::not_a_result_but_a_value(&shown(&declared)),
                    None => wording::not_a_result(&shown(&declared)),
                };
                self.broken(declared, message);
            }
            Some(_) => {}
        }
    }

    /// With both failure attributes the last element of the value is for the cause.
    fn check_exception_place(&mut self) {
        let both =
            self.attributes.fail_value.is_some() && self.attributes.fail_with_exception.is_some();
        let Some(value) = self.method.declared().and_then(value_type).filter(|_| both) else {
            return;
        };
        let fits = match bare(value) {
            Type::Tuple(tuple) => {
                let last = tuple.elems.last();
                tuple.elems.len() <= 12 && last.is_some_and(|last| !is_plainly_not(last, "Option"))
            }
            other => !is_plainly_not(other, ""),
        };
        if !fits {
            self.broken(value.clone(), wording::EXCEPTION_PLACE);
        }
    }

    fn check_required_arguments(&mut self) {
        let Some((_, names)) = &mut self.attributes.required_argument else {
            return;
        };
        let handle = self.handle.as_ref().map(|handle| handle.place);
        let parameters = self.method.parameters().enumerate();
        let parameters = parameters.filter(|(place, _)| Some(*place) != handle);
        let parameters: Vec<(&Ident, &Type)> = parameters
            .filter_map(|(_, parameter)| Some((parameter_name(parameter)?, &*parameter.ty)))
            .collect();
        let mut known: Vec<Ident> = Vec::new();
        for name in names.drain(..) {
            let parameter = parameters.iter().find(|(parameter, _)| **parameter == name);
            match parameter {
                _ if known.contains(&name) => {
                    self.errors.push_on(&name, wording::named_twice(&name));
                }
                None => {
                    let optional = parameters.iter().filter(|(_, ty)| is_option(ty));
                    let optional: Vec<&Ident> = optional.map(|(name, _)| *name).collect();
                    self.errors
                        .push_on(&name, wording::unknown_parameter(&name, &optional));
                }
                Some((_, ty)) if is_plainly_not(ty, "Option") => {
                    self.errors
                        .push_on(&name, wording::always_given(&name, &shown(ty)));
                }
                Some(_) => known.push(name),
            }
        }
        *names = known;
    }

    fn check_fail_value(&mut self) {
        let Some((_, expression)) = &mut self.attributes.fail_value else {
            return;
        };
        let db = self
            .handle
            .as_ref()
            .and_then(|handle| match &handle.pattern {
                Pat::Ident(pattern) => Some(&pattern.ident),
                _ => None,
            });
        if let Some((place, message)) = forbidden(expression.clone(), db) {
            self.errors.push(place, message);
            *expression = quote!(loop {});
        }
    }
}

impl Plan {
    /// What the caller passes: the parameters without the handle.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        let handle = self.handle.as_ref().map(|handle| handle.place);
        let parameters = self.method.parameters().enumerate();
        parameters
            .filter(move |(place, _)| Some(*place) != handle)
            .map(|(_, parameter)| parameter)
    }

    fn check_job(&mut self) {
        let errors = self.job_errors();
        self.sound &= errors.is_empty();
        errors.into_iter().for_each(|error| self.errors.add(error));
    }

    fn job_errors(&self) -> Vec<Error> {
        let Some((_, keys)) = &self.attributes.job else {
            return Vec::new();
        };
        let mut errors = Vec::new();
        if let Some((span, _)) = &self.attributes.fail_value {
            errors.push(Error::new(*span, wording::JOB_FAIL_VALUE));
        }
        let generics = &self.method.signature.generics.params;
        if let Some(parameter) = generics.first().filter(|_| !is_async_trait(&self.method)) {
            errors.push(Error::new_spanned(parameter, wording::JOB_GENERIC));
        }
        errors.extend(self.arguments().filter_map(|parameter| {
            if keys.every.is_some() {
                Some(Error::new_spanned(
                    &parameter.pat,
                    wording::SCHEDULE_ARGUMENT,
                ))
            } else if parameter_name(parameter).is_none() {
                Some(Error::new_spanned(&parameter.pat, wording::JOB_PATTERN))
            } else if matches!(bare(&parameter.ty), Type::Reference(_) | Type::ImplTrait(_)) {
                Some(Error::new_spanned(&parameter.ty, wording::JOB_BORROWS))
            } else {
                None
            }
        }));
        let Some((span, unique)) = &keys.unique else {
            return errors;
        };
        if keys.every.is_some() {
            errors.push(Error::new(*span, wording::SCHEDULE_UNIQUE));
        }
        let names: Vec<&Ident> = self.arguments().filter_map(parameter_name).collect();
        let unknown = unique.iter().filter(|name| !names.contains(name));
        errors.extend(unknown.map(|name| Error::new_spanned(name, wording::no_argument(name))));
        errors
    }
}

/// What a fail value may not contain. It is evaluated after the call, without waiting, for a caller that gets no error.
fn forbidden(expression: TokenStream, db: Option<&Ident>) -> Option<(Span, String)> {
    let tokens: Vec<TokenTree> = expression.into_iter().collect();
    let is = |place: usize, sign: char| matches!(tokens.get(place), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    tokens.iter().enumerate().find_map(|(place, token)| {
        let after_dot = place > 0 && is(place - 1, '.');
        match token {
            TokenTree::Group(group) => forbidden(group.stream(), db),
            TokenTree::Punct(punct) if punct.as_char() == '?' => {
                Some((punct.span(), wording::FAIL_VALUE_FAILS.to_owned()))
            }
            TokenTree::Ident(ident) if ident == "await" && after_dot => {
                Some((ident.span(), wording::FAIL_VALUE_WAITS.to_owned()))
            }
            // Not a field `.db`, nor a field `db:` of a struct expression.
            TokenTree::Ident(ident) if Some(ident) == db && !after_dot && !is(place + 1, ':') => {
                Some((ident.span(), wording::handle_gone(ident)))
            }
            _ => None,
        }
    })
}

/// The parameter whose type has the name of a handle. If there is none, the first one, if its type could be an alias of
/// a handle. If it could not, the one that was probably meant: it is called `db`, or its type contains a handle.
fn find_handle(method: &Method) -> Option<Handle> {
    let parameters: Vec<&PatType> = method.parameters().collect();
    let named = parameters
        .iter()
        .position(|parameter| handle_name(&parameter.ty).is_some());
    let place = named.or_else(|| {
        let first = parameters.first()?;
        could_be_handle(&first.ty).then_some(0)
    });
    let place = place.or_else(|| {
        let is_db =
            |parameter: &PatType| parameter_name(parameter).is_some_and(|name| name == "db");
        let meant = |parameter: &&PatType| is_db(parameter) || mentions_handle(&parameter.ty);
        parameters.iter().position(meant)
    })?;
    let PatType { pat, ty, .. } = parameters[place];
    Some(Handle {
        place,
        pattern: (**pat).clone(),
        ty: pointee(ty).clone(),
    })
}

/// `&mut Tx`, where `Tx` may be an alias of a handle.
fn could_be_handle(ty: &Type) -> bool {
    is_mutable_reference(ty) && !is_plainly_not(ty, "")
}

/// `&self`, `self: &Self` and `self: &Arc<Self>`.
fn is_shared(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => {
            let named =
                last_segment(pointee(ty)).is_some_and(|(last, _)| last == "Self" || last == "Arc");
            matches!(bare(ty), Type::Reference(reference) if reference.mutability.is_none())
                && named
        }
        _ => false,
    }
}

fn is_option(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|(last, _)| last == "Option")
}

/// `init_db` or `migrate_db`, as dbm-core's `Schema` declares it. A method of the user's own would hardly have the same
/// name and the same parameters.
fn is_hook(method: &Method) -> bool {
    let parameters: Vec<&PatType> = method.parameters().collect();
    let name = &method.signature.ident;
    let named = (name == "init_db" && parameters.len() == 1)
        || (name == "migrate_db" && parameters.len() == 3);
    named
        && matches!(method.visibility, Visibility::Inherited)
        && handle_name(&parameters[0].ty).is_some_and(|handle| handle == "WriteTransaction")
}

/// A hook is emitted unchanged, so that its trait is implemented.
fn hook(method: Method, mut errors: Errors, span: Span) -> Plan {
    errors.push(span, wording::HOOK);
    Plan {
        method,
        attributes: Attributes::default(),
        database: false,
        handle: None,
        sound: false,
        errors,
    }
}

/// The error on what is no method, or on a method that cannot be parsed. Of the second the compiler has said more.
pub(crate) fn not_a_method(name: AttributeName, item: &TokenStream, why: &Error) -> Error {
    let is_function = |token: TokenTree| matches!(token, TokenTree::Ident(word) if word == "fn");
    if item.clone().into_iter().any(is_function) {
        Error::new(why.span(), wording::unreadable(name, why))
    } else {
        Error::new(Span::call_site(), wording::not_a_method(name))
    }
}

/// `#[async_trait]` on the impl or the trait expands first. Its lifetime gives it away.
pub(crate) fn is_async_trait(method: &Method) -> bool {
    let mut parameters = method.signature.generics.params.iter();
    parameters.any(|parameter| matches!(parameter, GenericParam::Lifetime(lifetime) if lifetime.lifetime.ident == "async_trait"))
}
