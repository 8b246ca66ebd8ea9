//! From a fault to what the compiler says.

use super::excerpt::marked;
use super::fault::Fault;
use super::text::Text;
use crate::keys::Checked;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use std::env;
use syn::DeriveInput;

/// The number of a folder: the same in every macro of a package, another one in another package.
fn number(folder: &str, strict: bool) -> Literal {
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let text = format!("{package} {version} {folder} {strict}");
    // FNV-1a.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Literal::u64_suffixed(hash)
}

/// Lets the methods of a manager know that it is checked.
pub(super) fn checked(input: &DeriveInput, folder: &str, checked: &Checked) -> TokenStream {
    let name = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let numbers = [Some(false), checked.strict.then_some(true)];
    let numbers = numbers
        .into_iter()
        .flatten()
        .map(|strict| number(folder, strict));
    quote! {#(
        #[automatically_derived]
        impl #impl_generics ::dbm_core::__private::Checked<#numbers> for #name #ty_generics #where_clause {}
    )*}
}

/// A fault that is an error if `Self` is checked against the folder, see `dbm_core::checked`.
pub(super) fn fault(text: &Text, fault: &Fault, folder: &str) -> TokenStream {
    let number = number(folder, fault.strict);
    // The compiler would take braces for places to fill.
    let message = message(&text.sql, fault)
        .replace('{', "{{")
        .replace('}', "}}");
    let note = format!("checked against `{folder}`");
    let place = quote_spanned!(text.span=> <_ as Sql>::OK);
    quote_spanned! {Span::mixed_site()=> {
        #[diagnostic::on_unimplemented(message = #message, label = "this SQL", note = #note)]
        trait Sql: ::core::marker::Sized {
            const OK: ::core::marker::PhantomData<Self> = ::core::marker::PhantomData;
        }
        #[diagnostic::do_not_recommend]
        impl Sql for ((),) {}
        #[allow(unused_imports)]
        use ::dbm_core::__private::Otherwise as _;
        let _ = [::dbm_core::__private::Probe::<Self, #number>::WHOSE, #place];
    }}
}

/// SQLite's words, and the line they are about.
pub(super) fn message(sql: &str, fault: &Fault) -> String {
    match fault.offset {
        Some(offset) => format!("{}\n{}", fault.message, marked(sql, offset)),
        None => fault.message.clone(),
    }
}
