//! From files to `impl Schema`. The generated code lists the files and hands over.

use super::Folder;
use super::folder::File;
use crate::keys::After;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Generics, parse_quote};

/// `impl Schema` of a manager with these files; `place` is the key that asked for it.
///
/// The compiler reads the files once more, for that makes Cargo look at them.
pub(crate) fn impl_schema(
    input: &DeriveInput,
    folder: &Folder,
    after: &[After],
    place: Span,
) -> TokenStream {
    let name = &input.ident;
    let generics = shared(&input.generics);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let steps = folder.files.iter().map(|file| {
        let [major, minor, patch] = file.version.0.map(Literal::u64_unsuffixed);
        let version = quote!(::dbm_core::Version::new(#major, #minor, #patch));
        let sql = include(file);
        let postgres = folder
            .postgres
            .iter()
            .find(|other| other.version == file.version)
            .map(include)
            .map(|sql| quote!(.on("postgresql", #sql)));
        match after.iter().find(|after| after.version == file.version) {
            Some(After { step, span, .. }) => {
                let step = quote_spanned!(Span::mixed_site().located_at(*span)=>
                    |__manager, __db| ::std::boxed::Box::pin(#step(__manager, __db)));
                quote!(::dbm_core::__private::Step::with(#version, #sql, #step) #postgres)
            }
            None => quote!(::dbm_core::__private::Step::new(#version, #sql) #postgres),
        }
    });
    let schema = schema(
        input,
        &quote_spanned!(place=> ::dbm_core::__private::create(self, db).await),
        &quote_spanned!(place=> ::dbm_core::__private::migrate(self, db, current, target).await),
        place,
    );
    quote! {
        #[automatically_derived]
        impl #impl_generics ::dbm_core::__private::Files for #name #ty_generics #where_clause {
            const STEPS: &'static [::dbm_core::__private::Step<Self>] = &[#(#steps),*];
        }
        #schema
    }
}

fn include(file: &File) -> TokenStream {
    let path = format!("/{}", file.path);
    quote!(::core::include_str!(
        ::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #path)
    ))
}

/// The same where the files cannot be used: what is wrong has been said, and the manager still is one.
pub(crate) fn unreadable(input: &DeriveInput, place: Span) -> TokenStream {
    schema(input, &quote!(loop {}), &quote!(loop {}), place)
}

fn schema(
    input: &DeriveInput,
    create: &TokenStream,
    migrate: &TokenStream,
    place: Span,
) -> TokenStream {
    let name = &input.ident;
    let generics = shared(&input.generics);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    // All of it stands at the key: a second, hand-written impl is an error there.
    quote_spanned! {place=>
        #[automatically_derived]
        #[allow(unused_variables)]
        impl #impl_generics ::dbm_core::Schema for #name #ty_generics #where_clause {
            const __FROM_FILES: bool = true;
            async fn init_db(&self, db: &mut ::dbm_core::WriteTransaction) -> ::dbm_core::Result<()> {
                #create
            }
            async fn migrate_db(
                &self,
                db: &mut ::dbm_core::WriteTransaction,
                current: &::dbm_core::Version,
                target: &::dbm_core::Version,
            ) -> ::dbm_core::Result<bool> {
                #migrate
            }
        }
    }
}

/// A schema is shared among tasks, whatever a generic manager is made of.
fn shared(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    if generics.type_params().next().is_some() {
        generics
            .make_where_clause()
            .predicates
            .push(parse_quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static));
    }
    generics
}
