//! What `#[job]` adds beside a method, and what the derive adds for the jobs that a manager lists.

use crate::attributes::JobKeys;
use crate::check::{Handle, Plan};
use crate::method::parameter_name;
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{DeriveInput, Type, parse_quote};

/// The function that makes a job of arguments, and the one that tells the library of the method.
///
/// Of a method that is wrong there are the signatures, so that its jobs are no further errors.
pub(crate) fn items(plan: &Plan) -> TokenStream {
    let Some((_, keys)) = &plan.attributes.job else {
        return TokenStream::new();
    };
    let job = keys.every.is_none().then(|| job(plan, keys));
    let kind = kind(plan, keys);
    quote!(#job #kind)
}

/// `fn notify_job(channel: u64, text: String) -> Job<Self>`
fn job(plan: &Plan, keys: &JobKeys) -> TokenStream {
    let method = &plan.method.signature.ident;
    let (cfg, visibility) = (cfg(plan), &plan.method.visibility);
    let name = method.unraw().to_string();
    let function = format_ident!("{}_job", method.unraw(), span = method.span());
    let parameters = plan.arguments();
    let documentation = format!("A job that calls [`{name}`](Self::{name}).");
    let names = names(plan);
    let inside = if plan.sound {
        let unique = keys.unique.as_ref().map(|(_, unique)| {
            let key = if unique.is_empty() { &names } else { unique };
            quote!(.unique(&(#(&#key,)*)))
        });
        let given = plan.method.signature.paren_token.span.join();
        let arguments = quote_spanned!(Span::mixed_site().located_at(given)=> &(#(&#names,)*));
        quote_spanned!(Span::mixed_site()=> ::dbm_core::__private::job(#name, #arguments) #unique)
    } else {
        quote!(loop {})
    };
    quote_spanned! {Span::mixed_site()=>
        #(#cfg)*
        #[doc = #documentation]
        #[allow(dead_code, unused_variables, clippy::needless_pass_by_value)]
        #visibility fn #function(#(#parameters),*) -> ::dbm_core::Job<Self> {
            #inside
        }
    }
}

/// `fn __job_notify() -> JobKind<Self>`: each key is one method of `JobKind`.
fn kind(plan: &Plan, keys: &JobKeys) -> TokenStream {
    let method = &plan.method.signature.ident;
    let (cfg, function, name) = (cfg(plan), kind_of(method), method.unraw().to_string());
    let site = format!("{name}_job");
    let number = number(method);
    let (names, types) = (names(plan), types(plan));
    let inside = if plan.sound {
        let milliseconds = |value: Option<u64>| value.map(Literal::u64_unsuffixed);
        let timeout = milliseconds(keys.timeout).map(|timeout| quote!(.timeout_ms(#timeout)));
        let backoff = milliseconds(keys.backoff).map(|backoff| quote!(.backoff_ms(#backoff)));
        let every = milliseconds(keys.every.map(|(_, every)| every));
        let every = every.map(|every| quote!(.every_ms(#every)));
        let attempts = keys.attempts.map(Literal::u32_unsuffixed);
        let attempts = attempts.map(|attempts| quote!(.attempts(#attempts)));
        let on = plan
            .handle
            .as_ref()
            .map(|Handle { ty, .. }| quote!(.on::<#ty>()));
        let at = |place: Span| Span::mixed_site().located_at(place);
        let given = plan.method.signature.paren_token.span.join();
        let arguments = quote_spanned!(at(given)=>
            ::dbm_core::__private::arguments::<(#(#types,)*)>(__arguments));
        let returned = plan.method.declared().map_or(method.span(), Spanned::span);
        let call = quote_spanned!(at(returned)=> Self::#method(__manager, #(#names),*));
        let outcome = quote_spanned!(at(returned)=> ::dbm_core::__private::outcome(#call.await));
        let pin = quote_spanned!(at(method.span())=> ::std::boxed::Box::pin);
        let listed =
            quote_spanned!(method.span()=> ::dbm_core::__private::listed::<Self, #number>());
        quote_spanned! {Span::mixed_site()=>
            #listed;
            static __SITE: ::dbm_core::__private::Site =
                ::dbm_core::__private::Site::job(::core::module_path!(), #site) #timeout;
            ::dbm_core::__private::JobKind::new(#name, &__SITE, |__manager, __arguments| {
                #pin(async move {
                    let (#(#names,)*) = #arguments?;
                    #outcome
                })
            })
            #on #attempts #backoff #every
        }
    } else {
        quote!(loop {})
    };
    quote_spanned! {Span::mixed_site()=>
        #(#cfg)*
        #[doc(hidden)]
        pub(crate) fn #function() -> ::dbm_core::__private::JobKind<Self> {
            #inside
        }
    }
}

/// A method that is not compiled has no jobs.
fn cfg(plan: &Plan) -> Vec<&syn::Attribute> {
    let attributes = plan.method.attributes.iter();
    attributes
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect()
}

fn names(plan: &Plan) -> Vec<Ident> {
    plan.arguments()
        .filter_map(parameter_name)
        .cloned()
        .collect()
}

fn types(plan: &Plan) -> Vec<&Type> {
    plan.arguments().map(|parameter| &*parameter.ty).collect()
}

fn kind_of(method: &Ident) -> Ident {
    format_ident!("__job_{}", method.unraw(), span = method.span())
}

/// A name as a number (FNV-1a), which a constant parameter can be.
fn number(name: &Ident) -> Literal {
    let name = name.unraw().to_string();
    let number = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Literal::u64_unsuffixed(number)
}

/// What the derive adds for the listed jobs: to its impl, and beside it.
///
/// A method that is no job is found in the trait instead, whose bound says so. Of a list that cannot be read (`None`) every
/// job counts as listed, so that it is no further error.
pub(crate) fn list(input: &DeriveInput, jobs: Option<&[Ident]>) -> (TokenStream, TokenStream) {
    let name = &input.ident;
    if !crate::JOBS {
        return Default::default();
    }
    let Some(jobs) = jobs else {
        let mut generics = input.generics.clone();
        generics.params.push(parse_quote!(const __NAME: u64));
        let (impl_generics, _, where_clause) = generics.split_for_impl();
        let (_, ty_generics, _) = input.generics.split_for_impl();
        let beside = quote! {
            impl #impl_generics ::dbm_core::__private::Listed<__NAME> for #name #ty_generics #where_clause {}
        };
        return (TokenStream::new(), beside);
    };
    if jobs.is_empty() {
        return Default::default();
    }
    let kinds: Vec<Ident> = jobs.iter().map(kind_of).collect();
    let calls = kinds
        .iter()
        .map(|kind| quote_spanned!(Span::mixed_site().located_at(kind.span())=> Self::#kind()));
    let inside = quote_spanned! {Span::mixed_site()=>
        fn __jobs() -> ::std::vec::Vec<::dbm_core::__private::JobKind<Self>> {
            #[allow(dead_code)]
            trait NoJob: Sized {
                #(fn #kinds() -> ::dbm_core::__private::JobKind<Self>
                where
                    Self: ::dbm_core::__private::IsJob,
                {
                    loop {}
                })*
            }
            impl<T> NoJob for T {}
            ::std::vec![#(#calls),*]
        }
    };
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let numbers = jobs.iter().map(number);
    let beside = quote! {
        #(#[automatically_derived]
        impl #impl_generics ::dbm_core::__private::Listed<#numbers> for #name #ty_generics #where_clause {})*
    };
    (inside, beside)
}
