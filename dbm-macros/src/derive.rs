//! `#[derive(DbManager)]`: where the core is, which version the program needs, and how a core becomes a manager.

use crate::types::{is_plainly_not, last_segment, mentions};
use crate::wording;
use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Generics, LitStr, Member, Result, Type, parse_quote,
};

pub(crate) fn db_manager(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Error::new_spanned(lifetime, wording::LIFETIME).to_compile_error();
    }
    let version = version(&input);
    let fields = fields(&input);
    let errors = [version.as_ref().err(), fields.as_ref().err()]
        .into_iter()
        .flatten()
        .map(Error::to_compile_error);
    let [major, minor, patch] = version
        .as_ref()
        .unwrap_or(&[0, 0, 0])
        .map(Literal::u64_unsuffixed);
    // After an error it is a manager all the same, so that its calls are no further errors.
    let (core, from_core) = match &fields {
        Ok(fields) => (fields.core(), fields.impl_from_core(&input)),
        Err(_) => (
            quote!(loop {}),
            impl_from_core(&input, &quote!(loop {}), &[]),
        ),
    };
    let name = &input.ident;
    let generics = with_schema(&input.generics);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    quote! {
        #(#errors)*
        #[automatically_derived]
        impl #impl_generics ::dbm_core::DbManager for #name #ty_generics #where_clause {
            const VERSION: ::dbm_core::Version = ::dbm_core::Version::new(#major, #minor, #patch);
            fn __core(&self) -> &::dbm_core::ManagerCore {
                #core
            }
        }
        #from_core
    }
}

/// A generic struct is a manager only for the types for which it implements `Schema`.
fn with_schema(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    if generics.type_params().next().is_some() {
        let clause = generics.make_where_clause();
        clause
            .predicates
            .push(parse_quote!(Self: ::dbm_core::Schema));
    }
    generics
}

/// The fields of a manager: its core and the others.
struct Fields<'a> {
    core: Member,
    core_type: &'a Type,
    others: Vec<(Member, &'a Type)>,
}

impl Fields<'_> {
    fn core(&self) -> TokenStream {
        let core = &self.core;
        quote_spanned!(self.core_type.span()=> &self.#core)
    }

    fn impl_from_core(&self, input: &DeriveInput) -> TokenStream {
        let core = &self.core;
        let members = self.others.iter().map(|(member, _)| member);
        let types: Vec<&Type> = self.others.iter().map(|(_, ty)| *ty).collect();
        let made = quote!(Self { #core: core, #(#members: ::dbm_core::__private::DefaultField::make()),* });
        impl_from_core(input, &made, &types)
    }
}

/// A field that is not `Default` is an error where `create` is called, not here. The `for<'__put_off>` does that:
/// without it the compiler would reject the bound at once.
fn impl_from_core(input: &DeriveInput, made: &TokenStream, defaults: &[&Type]) -> TokenStream {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    let clause = generics.make_where_clause();
    for ty in defaults {
        clause
            .predicates
            .push(parse_quote!(for<'__put_off> #ty: ::dbm_core::__private::DefaultField));
    }
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::dbm_core::__private::FromCore for #name #ty_generics #where_clause {
            fn from_core(core: ::dbm_core::ManagerCore) -> Self {
                #made
            }
        }
    }
}

fn fields(input: &DeriveInput) -> Result<Fields<'_>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.ident.span(), wording::NO_STRUCT));
    };
    let marked: Vec<bool> = data.fields.iter().map(is_marked).collect::<Result<_>>()?;
    let any_marked = marked.contains(&true);
    let is_core = |place: usize, field: &Field| {
        if any_marked {
            marked[place]
        } else {
            has_core_type(field)
        }
    };
    let mut core = None;
    let mut others = Vec::new();
    for (place, (member, field)) in data.fields.members().zip(&data.fields).enumerate() {
        match (is_core(place, field), &core) {
            (true, None) => core = Some((member, &field.ty)),
            (true, Some(_)) => return Err(Error::new_spanned(&field.ty, wording::TWO_CORES)),
            (false, _) => others.push((member, &field.ty)),
        }
    }
    let Some((core, core_type)) = core else {
        return Err(no_core(input, &others));
    };
    if is_plainly_not(core_type, "ManagerCore") {
        return Err(Error::new_spanned(core_type, wording::MARKED_TYPE));
    }
    Ok(Fields {
        core,
        core_type,
        others,
    })
}

fn no_core(input: &DeriveInput, others: &[(Member, &Type)]) -> Error {
    let wrapped = others
        .iter()
        .find(|(_, ty)| mentions(ty, |name| name == "ManagerCore"));
    match wrapped {
        Some((_, ty)) => Error::new_spanned(ty, wording::CORE_TYPE),
        None => Error::new(input.ident.span(), wording::NO_CORE),
    }
}

fn has_core_type(field: &Field) -> bool {
    last_segment(&field.ty).is_some_and(|(last, _)| last == "ManagerCore")
}

fn is_marked(field: &Field) -> Result<bool> {
    let Some(attribute) = ours(&field.attrs).next() else {
        return Ok(false);
    };
    let word: Result<syn::Ident> = attribute.parse_args();
    match word {
        Ok(word) if word == "core" => Ok(true),
        _ => Err(Error::new_spanned(&attribute.meta, wording::FIELD_MARK)),
    }
}

fn ours(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("db_manager"))
}

fn version(input: &DeriveInput) -> Result<[u64; 3]> {
    let mut version = None;
    for attribute in ours(&input.attrs) {
        attribute
            .parse_nested_meta(|meta| {
                if !meta.path.is_ident("version") || version.is_some() {
                    return Err(Error::new_spanned(&meta.path, ""));
                }
                version = Some(meta.value()?.parse::<LitStr>()?);
                Ok(())
            })
            .map_err(|error| Error::new(error.span(), wording::NO_VERSION))?;
    }
    let Some(version) = version else {
        return Err(Error::new(input.ident.span(), wording::NO_VERSION));
    };
    three_numbers(&version.value()).ok_or_else(|| Error::new(version.span(), wording::VERSION))
}

/// Three plain numbers, each small enough for SQLite.
fn three_numbers(text: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = text
        .split('.')
        .map(|part| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit())
                && (part == "0" || !part.starts_with('0'));
            part.parse()
                .ok()
                .filter(|&number| plain && i64::try_from(number).is_ok())
        })
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}
