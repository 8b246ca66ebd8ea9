//! `#[derive(ToValue)]`: the value of a type is what serde makes of it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, parse_quote};

pub(crate) fn to_value(item: TokenStream) -> TokenStream {
    let mut input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let name = &input.ident;
    // Without type parameters it is no condition of the implementation, so that a missing `Serialize` is an error here
    // and not once more at each use.
    if input.generics.type_params().next().is_some() {
        let clause = input.generics.make_where_clause();
        clause
            .predicates
            .push(parse_quote!(Self: ::dbm_core::__private::Serialize));
    }
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let value = quote_spanned!(name.span()=> ::dbm_core::__private::value_of::<Self>);
    quote! {
        #[automatically_derived]
        impl #impl_generics ::dbm_core::ToValue for #name #ty_generics #where_clause {
            fn to_value(&self) -> ::dbm_core::Result<::dbm_core::Value> {
                #value(self)
            }
        }
    }
}
