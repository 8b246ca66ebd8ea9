//! Generates the code. It adapts a signature and calls dbm-core; it decides nothing itself.

use crate::attribute_name::AttributeName;
use crate::attributes::{Attributes, Given, take_siblings};
use crate::blame;
use crate::check::{self, Handle, Plan};
use crate::errors::Errors;
use crate::job;
use crate::method::{Method, parameter_name};
use crate::one_statement;
use crate::types::{bare, handle_name, is_fallible, is_plain, value_type};
use proc_macro2::{Group, Ident, Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    GenericArgument, Pat, Path, PathArguments, ReceiverKind, ReturnType, Signature, Token, Type,
    WherePredicate,
};

/// What the feature `checked` says of the statements of a method.
pub(crate) type CheckStatements = fn(&Plan) -> TokenStream;

/// Expands a method. `name` is the outermost of its attributes, the one that the compiler calls.
pub(crate) fn attribute(
    name: AttributeName,
    arguments: TokenStream,
    item: &TokenStream,
    check: CheckStatements,
) -> TokenStream {
    let mut method = match syn::parse2::<Method>(item.clone()) {
        Ok(method) => method,
        Err(why) => {
            let error = check::not_a_method(name, item, &why).to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut given = vec![Given::outermost(name, arguments)];
    let (siblings, paths) = take_siblings(&mut method.attributes);
    given.extend(siblings);
    let mut errors = Errors::default();
    let attributes = Attributes::read(&given, &mut errors);
    expand(&check::check(method, attributes, errors), &paths, check)
}

fn expand(plan: &Plan, paths: &[Path], check: CheckStatements) -> TokenStream {
    let Method {
        attributes,
        visibility,
        body,
        ..
    } = &plan.method;
    let signature = outside(plan);
    let errors = plan.errors.to_compile_errors();
    let Some(body) = body else {
        return quote!(#errors #(#attributes)* #visibility #signature;);
    };
    let imports = imports(paths);
    let (allow, inside) = match (plan.sound, plan.database) {
        (false, _) => (
            Some(quote!(#[allow(unused_variables, unused_mut, unexpected_cfgs)])),
            unsound(plan, body),
        ),
        (true, true) => (None, call(plan, body, check)),
        (true, false) => (None, alone(plan, body)),
    };
    let job = job::items(plan);
    quote! {
        #errors
        #(#attributes)*
        #allow
        #visibility #signature {
            #imports
            #inside
        }
        #job
    }
}

/// What the caller sees.
///
/// In:  `async fn user(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<User>>`
/// Out: `async fn user(&self, id: u64) -> Option<User>`, here with a fail value
fn outside(plan: &Plan) -> Signature {
    let mut signature = plan.method.signature.clone();
    let handle = plan.handle.as_ref().map(|handle| handle.place);
    let receivers = usize::from(signature.receiver().is_some());
    signature.inputs = signature
        .inputs
        .into_iter()
        .enumerate()
        .filter(|(place, _)| handle.is_none_or(|handle| *place != handle + receivers))
        .map(|(_, input)| input)
        .collect();
    if check::is_async_trait(&plan.method) {
        forget_lifetimes(&mut signature, plan);
    } else if signature.asyncness.is_none() {
        signature.asyncness = Some(Token![async](signature.fn_token.span));
    }
    if let (Some(_), ReturnType::Type(_, declared)) =
        (&plan.attributes.fail_value, &mut signature.output)
        && is_fallible(declared)
        && !check::is_async_trait(&plan.method)
    {
        **declared = value(declared);
    }
    signature
}

/// The `T` of a declared `Result<T, E>`. If the declaration is an alias that hides it, the compiler finds it, through
/// `ValueOf`.
fn value(declared: &Type) -> Type {
    value_type(declared).cloned().unwrap_or_else(
        || syn::parse_quote_spanned!(declared.span()=> ::dbm_core::ValueOf<#declared>),
    )
}

/// Uses the imports of the removed attributes. Otherwise the compiler would warn that they are unused.
fn imports(paths: &[Path]) -> Option<TokenStream> {
    match paths {
        [] => None,
        [path] => Some(quote!(#[allow(unused_imports)] use #path as _;)),
        paths => Some(quote!(#[allow(unused_imports)] use {#(#paths as _),*};)),
    }
}

/// The inside of a `#[database_safe]` method: a call of dbm-core, which is given the body as a closure.
fn call(plan: &Plan, body: &Group, check: CheckStatements) -> TokenStream {
    let (Some(Handle { pattern, ty, .. }), Some(declared)) = (&plan.handle, plan.method.declared())
    else {
        return TokenStream::new();
    };
    let manager = manager(&plan.method.signature);
    let arguments = plan.method.parameters().filter_map(parameter_name);
    let blame = blame::place(body, &arguments.collect::<Vec<_>>());
    let required = plan.attributes.required_argument.is_some().then(|| {
        let given = given(&plan.attributes);
        quote_spanned!(Span::mixed_site()=> .required_argument(&[#given]))
    });
    let returned = nameable(declared);
    let returning = Ident::new("returning", declared.span());
    let at = |place: Span| Span::mixed_site().located_at(place);
    let db = Ident::new("__db", at(pattern.span()));
    let lent = quote_spanned!(at(pattern.span())=> let #pattern = &mut #db;);
    let inside = typed_body(plan, body, &lent);
    let closure = quote_spanned!(at(blame)=> async |mut #db| { #inside });
    let site = site(plan);
    let policy = policy(&plan.attributes, declared);
    let faults = check(plan);
    quote_spanned! {Span::mixed_site()=>
        #site
        #faults
        let __outcome = ::dbm_core::__private::call(&__SITE, #manager)
            #required
            .on::<#ty>()
            .#returning::<#returned>()
            .run(#closure)
            .await;
        #policy
    }
}

/// What a failure becomes. Each token has the span of the user's code that a type error would be about.
fn policy(attributes: &Attributes, declared: &Type) -> TokenStream {
    let at = |place: Span| Span::mixed_site().located_at(place);
    let (method, place, fail_value) = match (&attributes.fail_value, attributes.fail_with_exception)
    {
        (None, None) => ("into_result", Span::call_site(), None),
        (None, Some(place)) => ("fail_with_exception", place, None),
        (Some((place, expression)), None) => ("fail_value", *place, Some(expression)),
        (Some((_, expression)), Some(_)) => (
            "fail_value_with_exception",
            value(declared).span(),
            Some(expression),
        ),
    };
    let method = Ident::new(method, at(place));
    let outcome = Ident::new("__outcome", at(place));
    let outside = nameable(&value(declared));
    let substitute = fail_value
        .map(|expression| quote_spanned!(at(expression.span())=> || -> #outside { #expression }));
    quote!(#outcome.#method(#substitute))
}

/// A method that is timed, checks its arguments, or is a job, without a database.
fn alone(plan: &Plan, body: &Group) -> TokenStream {
    if plan.attributes.timed.is_none() && plan.attributes.required_argument.is_none() {
        return quote!(#body);
    }
    let site = site(plan);
    let required = plan
        .attributes
        .required_argument
        .as_ref()
        .zip(plan.method.declared())
        .map(|(_, declared)| {
            let returned = nameable(declared);
            let given = given(&plan.attributes);
            // A return type that cannot carry the error is what the compiler points at.
            let check =
                quote_spanned!(Span::mixed_site().located_at(declared.span())=> ::dbm_core::__private::missing_argument);
            quote_spanned! {Span::mixed_site()=>
                if let ::core::option::Option::Some(__missing) =
                    #check::<#returned>(&__SITE, &[#given])
                {
                    return __missing;
                }
            }
        });
    let body = match plan.attributes.timed {
        Some(_) => {
            let body = typed_body(plan, body, &TokenStream::new());
            quote_spanned!(Span::mixed_site()=> ::dbm_core::__private::timed(&__SITE, async { #body }).await)
        }
        None => quote!(#body),
    };
    quote!(#site #required #body)
}

/// `static __SITE`: each attribute, and each of its keys, is one method of `Site`.
fn site(plan: &Plan) -> TokenStream {
    let Attributes {
        timeout,
        timed,
        slow,
        during_init,
        ..
    } = &plan.attributes;
    let name = plan.method.signature.ident.unraw().to_string();
    let timeout = timeout
        .map(Literal::u64_unsuffixed)
        .map(|milliseconds| quote!(.timeout_ms(#milliseconds)));
    let timed = timed.map(|_| quote!(.timed()));
    let slow = slow
        .map(Literal::u64_unsuffixed)
        .map(|milliseconds| quote!(.slow_ms(#milliseconds)));
    let during_init = during_init.map(|_| quote!(.during_init()));
    let one_statement = runs_one_statement(plan).then(|| quote!(.one_statement()));
    quote_spanned! {Span::mixed_site()=>
        static __SITE: ::dbm_core::__private::Site =
            ::dbm_core::__private::Site::new(::core::module_path!(), #name) #timeout #timed #slow #during_init #one_statement;
    }
}

/// Whether the body is known to run one statement at most. After that of a write nothing may fail, so no argument may run
/// code of the program when it is dropped.
fn runs_one_statement(plan: &Plan) -> bool {
    let (Some(handle), Some(body)) = (&plan.handle, &plan.method.body) else {
        return false;
    };
    let name = match &handle.pattern {
        Pat::Ident(name) if name.subpat.is_none() => name.ident.unraw().to_string(),
        _ => return false,
    };
    match handle_name(&handle.ty).as_deref() {
        Some("ReadTransaction") => one_statement::reads_once(body.stream(), &name),
        Some("WriteTransaction") => {
            one_statement::writes_once(body.stream(), &name)
                && plan.method.parameters().all(|given| is_plain(&given.ty))
        }
        _ => false,
    }
}

/// `("a", a.is_some()), ..`
fn given(attributes: &Attributes) -> TokenStream {
    let names = attributes
        .required_argument
        .iter()
        .flat_map(|(_, names)| names);
    let given = names.map(|name| {
        let text = name.unraw().to_string();
        quote_spanned!(name.span()=> (#text, ::core::option::Option::is_some(&#name)))
    });
    quote!(#(#given),*)
}

/// The body, after a `return` of the declared type that is never reached.
///
/// rustc does not carry the declared type into an async block or closure. It would infer the type from the user's first
/// `return`, and report errors on the attribute. With a `return` in front, each error is on the user's code.
fn typed_body(plan: &Plan, body: &Group, first: &TokenStream) -> TokenStream {
    let unit = syn::parse_quote!(());
    let declared = plan.method.declared().unwrap_or(&unit);
    let returned = nameable(declared);
    let edge = quote_spanned! {Span::mixed_site().located_at(declared.span())=>
        if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<#returned> {
            return __return;
        }
    };
    quote!(#edge #first #body)
}

/// The inside of a method whose body cannot be compiled. Only rust-analyzer sees the body, so that an editor still
/// understands it.
fn unsound(plan: &Plan, body: &Group) -> TokenStream {
    let handle = plan
        .handle
        .as_ref()
        .map(|Handle { pattern, ty, .. }| quote!(let #pattern: &mut #ty = loop {};));
    quote! {
        #[cfg(rust_analyzer)]
        {
            #handle
            #body
        }
        loop {}
    }
}

/// The manager behind the receiver.
fn manager(signature: &Signature) -> TokenStream {
    let Some(receiver) = signature.receiver() else {
        return TokenStream::new();
    };
    let this = receiver.self_token;
    match &receiver.kind {
        ReceiverKind::Typed(_, ty) if !is_reference_to_self(ty) => quote!(&**#this),
        _ => quote!(#this),
    }
}

fn is_reference_to_self(ty: &Type) -> bool {
    matches!(bare(ty), Type::Reference(reference) if matches!(bare(&reference.elem), Type::Path(path) if path.path.is_ident("Self")))
}

/// The type with `_` for what cannot be named in the body: `impl Trait` and `!`.
fn nameable(ty: &Type) -> Type {
    let mut named = ty.clone();
    name_in_place(&mut named);
    named
}

fn name_in_place(ty: &mut Type) {
    match ty {
        Type::ImplTrait(_) | Type::Never(_) => *ty = syn::parse_quote!(_),
        Type::Group(group) => name_in_place(&mut group.elem),
        Type::Paren(paren) => name_in_place(&mut paren.elem),
        Type::Reference(reference) => name_in_place(&mut reference.elem),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(name_in_place),
        Type::Path(path) => {
            for segment in &mut path.path.segments {
                if let PathArguments::AngleBracketed(angled) = &mut segment.arguments {
                    angled.args.iter_mut().for_each(|argument| {
                        if let GenericArgument::Type(ty) = argument {
                            name_in_place(ty);
                        }
                    });
                }
            }
        }
        _ => {}
    }
}

/// Removes the lifetime that `#[async_trait]` made for the handle. The signature in the trait has no handle, and so no
/// such lifetime.
fn forget_lifetimes(signature: &mut Signature, plan: &Plan) {
    let parameter = plan
        .handle
        .as_ref()
        .and_then(|handle| plan.method.parameters().nth(handle.place));
    let Some(Type::Reference(reference)) = parameter.map(|parameter| bare(&parameter.ty)) else {
        return;
    };
    let Some(lifetime) = &reference.lifetime else {
        return;
    };
    let generics = &mut signature.generics;
    generics.params = std::mem::take(&mut generics.params)
        .into_iter()
        .filter(|parameter| !matches!(parameter, syn::GenericParam::Lifetime(other) if other.lifetime == *lifetime))
        .collect();
    if let Some(clause) = &mut generics.where_clause {
        clause.predicates = std::mem::take(&mut clause.predicates)
            .into_iter()
            .filter(|predicate| !matches!(predicate, WherePredicate::Lifetime(other) if other.lifetime == *lifetime))
            .collect();
    }
}
