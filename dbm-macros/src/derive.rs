//! `#[derive(DbManager)]`: where the core is, which version the program needs, how a core becomes a manager, and its schema
//! where that is files.

use crate::job;
use crate::keys::{Checked, Keys, SchemaKey};
use crate::schema::{self, Folder};
use crate::types::{is_plainly_not, last_segment, mentions};
use crate::version::Version;
use crate::wording;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Generics, LitStr, Member, Result, Type, parse_quote,
};

/// What the feature `checked` does with the files of a manager: what is wrong with them, or what lets its methods know
/// that they are checked.
pub(crate) type CheckFiles = fn(&DeriveInput, &Folder, &Checked) -> Result<TokenStream>;

pub(crate) fn db_manager(item: TokenStream, check: Option<CheckFiles>) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let keys = Keys::read(ours(&input.attrs));
    let version = keys.version(input.ident.span());
    let fields = fields(&input);
    let lifetime = lifetime(&input);
    let errors = [
        lifetime.as_ref(),
        version.as_ref().err(),
        fields.as_ref().err(),
    ]
    .into_iter()
    .flatten()
    .map(Error::to_compile_error);
    let [major, minor, patch] = version
        .as_ref()
        .map_or([0, 0, 0], |(version, _)| version.0)
        .map(Literal::u64_unsuffixed);
    // After an error it is a manager all the same, so that its calls are no further errors.
    let (core, from_core) = match &fields {
        Ok(fields) => (fields.core(), fields.impl_from_core(&input)),
        Err(_) => (
            quote!(loop {}),
            impl_from_core(&input, &quote!(loop {}), &[]),
        ),
    };
    let schema = keys
        .schema
        .as_ref()
        .map(|key| schema(&input, &keys, key, version.as_ref().ok(), check));
    let (jobs, listed) = job::list(&input, keys.jobs());
    let name = &input.ident;
    let begin = match &lifetime {
        // The compiler points at the struct if it has no schema.
        None => quote_spanned!(Span::call_site().located_at(name.span())=>
            ::dbm_core::__private::begin::<Self>(start, here)),
        Some(_) => quote!(loop {}),
    };
    let generics = with_schema(&input.generics);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    quote! {
        #(#errors)*
        #[automatically_derived]
        impl #impl_generics ::dbm_core::__private::Shareable for #name #ty_generics #where_clause {}
        #[automatically_derived]
        impl #impl_generics ::dbm_core::DbManager for #name #ty_generics #where_clause {
            const VERSION: ::dbm_core::Version = ::dbm_core::Version::new(#major, #minor, #patch);
            fn __core(&self) -> &::dbm_core::ManagerCore {
                #core
            }
            #jobs
            fn __begin(
                start: ::dbm_core::__private::Start<Self>,
                here: bool,
            ) -> ::std::sync::Arc<Self> {
                #begin
            }
        }
        #listed
        #from_core
        #schema
    }
}

/// The schema of a manager that has files. Where they are of no use, that is the only error.
fn schema(
    input: &DeriveInput,
    keys: &Keys,
    key: &SchemaKey,
    version: Option<&(Version, Span)>,
    check: Option<CheckFiles>,
) -> TokenStream {
    let nothing = || schema::unreadable(input, key.span);
    // What else is wrong with the keys has been said.
    let Some(version) = version else {
        return nothing();
    };
    let folder = match files(keys, key, version) {
        Ok(folder) => folder,
        Err(error) => {
            let (error, nothing) = (error.to_compile_error(), nothing());
            return quote!(#error #nothing);
        }
    };
    let schema = schema::impl_schema(input, &folder, &keys.after, key.span);
    let checked = keys.checked.as_ref().map(|checked| match check {
        Some(check) => check(input, &folder, checked),
        None => Err(Error::new(checked.span, wording::NO_FEATURE)),
    });
    let checked = checked.map(|checked| checked.unwrap_or_else(|error| error.to_compile_error()));
    quote!(#schema #checked)
}

/// The files that a manager names: those that lead to its version, and those that a step in Rust follows.
fn files(keys: &Keys, key: &SchemaKey, (version, place): &(Version, Span)) -> Result<Folder> {
    let name = key.folder.as_ref();
    let path = Folder::path(name.map(LitStr::value).as_deref());
    let key_place = name.map_or(key.span, LitStr::span);
    let folder = schema::package()
        .and_then(|package| Folder::read(&package, path))
        .map_err(|error| Error::new(key_place, error))?;
    let newest = folder.newest();
    if newest != Some(*version) {
        let message = wording::not_the_newest(&folder.path, *version, newest);
        return Err(Error::new(*place, message));
    }
    let has = |version: Version| folder.files.iter().any(|file| file.version == version);
    match keys.after.iter().find(|after| !has(after.version)) {
        Some(after) => {
            let message = wording::after_nothing(&folder.path, after.version);
            Err(Error::new(after.place.span(), message))
        }
        None => Ok(folder),
    }
}

/// A generic struct is a manager only for the types for which it implements `Schema`.
fn with_schema(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    if generics.type_params().next().is_some() {
        let clause = generics.make_where_clause();
        clause
            .predicates
            .push(parse_quote!(Self: ::dbm_core::Schema + ::core::marker::Send + ::core::marker::Sync + 'static));
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

fn lifetime(input: &DeriveInput) -> Option<Error> {
    let lifetime = input.generics.lifetimes().next()?;
    Some(Error::new_spanned(lifetime, wording::LIFETIME))
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
