//! `#[derive(ToValue)]`: the value of a type is what serde makes of it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::DeriveInput;

pub(crate) fn to_value(item: TokenStream) -> TokenStream {
    let mut input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let name = &input.ident;
    // With the span of the name, so that rustc points there if `Serialize` is missing.
    let serialize = quote_spanned!(name.span()=> Self: ::dbm_core::__private::Serialize);
    let clause = input.generics.make_where_clause();
    clause.predicates.push(syn::parse_quote!(#serialize));
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::dbm_core::ToValue for #name #ty_generics #where_clause {
            fn to_value(&self) -> ::dbm_core::Result<::dbm_core::Value> {
                ::dbm_core::ToValue::to_value(&::dbm_core::Serde(self))
            }
        }
    }
}
