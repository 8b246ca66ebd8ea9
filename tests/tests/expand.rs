//! What the macros generate, on the screen: `tests/expand/<name>.rs` is written by a user, `<name>.expanded.rs` is what
//! the compiler gets. After an intended change, `EXPAND=overwrite cargo test -p dbm-tests --test expand` writes it anew.

#![allow(clippy::unwrap_used)]

#[path = "../../dbm-macros/src/attribute_name.rs"]
mod attribute_name;
#[path = "../../dbm-macros/src/attributes.rs"]
mod attributes;
#[path = "../../dbm-macros/src/blame.rs"]
mod blame;
#[path = "../../dbm-macros/src/check.rs"]
mod check;
#[path = "../../dbm-macros/src/derive.rs"]
mod derive;
#[path = "../../dbm-macros/src/errors.rs"]
mod errors;
#[path = "../../dbm-macros/src/expand.rs"]
mod expand;
#[path = "../../dbm-macros/src/job.rs"]
mod job;
#[path = "../../dbm-macros/src/keys.rs"]
mod keys;
#[path = "../../dbm-macros/src/method.rs"]
mod method;
#[path = "../../dbm-macros/src/one_statement.rs"]
mod one_statement;
#[path = "../../dbm-macros/src/schema/mod.rs"]
mod schema;
#[path = "../../dbm-macros/src/types.rs"]
mod types;
#[path = "../../dbm-macros/src/version.rs"]
mod version;
#[path = "../../dbm-macros/src/wording.rs"]
mod wording;

use attribute_name::AttributeName;
use attributes::Given;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use std::path::{Path, PathBuf};
use syn::{Attribute, File, ImplItem, ImplItemFn, Item, Stmt, parse_quote};

const JOBS: bool = true;

const SCREEN: usize = 45;

#[test]
fn what_is_generated_fits_on_a_screen_and_is_as_kept() {
    let written = rust_files(&folder("expand"))
        .into_iter()
        .filter(|path| !is_expanded(path));
    for path in written {
        let expanded = prettyplease::unparse(&syn::parse2(expand_file(&path)).unwrap());
        assert!(
            expanded.lines().count() <= SCREEN,
            "{} does not fit on a screen:\n{expanded}",
            path.display()
        );
        let kept = path.with_extension("expanded.rs");
        if std::env::var_os("EXPAND").is_some_and(|value| value == "overwrite") {
            std::fs::write(&kept, &expanded).unwrap();
        }
        assert_eq!(
            expanded,
            std::fs::read_to_string(kept).unwrap_or_default(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_order_of_the_attributes_changes_nothing() {
    let method: ImplItemFn = parse_quote! {
        async fn f(&self, db: &mut ReadTransaction, a: Option<u8>) -> Result<(Option<u8>, Option<Error>)> {
            Ok((a, None))
        }
    };
    let attributes: [Attribute; 6] = [
        parse_quote!(#[database_safe(timeout = "5s")]),
        parse_quote!(#[required_argument(a)]),
        parse_quote!(#[fail_value((None, None))]),
        parse_quote!(#[fail_with_exception]),
        parse_quote!(#[timed(slow = "1s")]),
        parse_quote!(#[during_init]),
    ];
    let mut seen = Vec::new();
    for order in orders(attributes.to_vec()) {
        let item = ImplItem::Fn(ImplItemFn {
            attrs: order,
            ..method.clone()
        });
        let mut expanded: ImplItemFn = syn::parse2(expand_method(item)).unwrap();
        // The imports name all attributes but the outermost.
        assert!(matches!(
            expanded.block.stmts.remove(0),
            Stmt::Item(Item::Use(_))
        ));
        seen.push(expanded.to_token_stream().to_string());
    }
    assert_eq!(seen.len(), 720);
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_method_is_emitted_with_every_error() {
    let mut methods = 0;
    for path in rust_files(&folder("ui"))
        .iter()
        .flat_map(|attribute| rust_files(attribute))
    {
        let file = parse(&path);
        let impls = file.items.into_iter().filter_map(|item| match item {
            Item::Impl(block) => Some(block.items),
            _ => None,
        });
        for item in impls.flatten() {
            let ImplItem::Fn(method) = &item else {
                continue;
            };
            let name = method.sig.ident.to_string();
            if method
                .attrs
                .iter()
                .any(|attribute| Given::sibling(attribute).is_some())
            {
                let items: File = syn::parse2(expand_method(item)).unwrap();
                let emitted = items
                    .items
                    .iter()
                    .any(|item| matches!(item, Item::Verbatim(_) | Item::Fn(_)));
                assert!(emitted, "{name} in {}", path.display());
                methods += 1;
            }
        }
    }
    assert!(methods > 70, "{methods}");
}

#[test]
fn a_half_typed_body_still_expands() {
    let method = "async fn f(&self, db: &mut ReadTransaction) -> Result<u8> { let users = db.; if users { } else }";
    let given = Given::outermost(AttributeName::DatabaseSafe, TokenStream::new());
    let expanded = expand::attribute(
        given.name,
        given.arguments,
        &method.parse().unwrap(),
        |_| TokenStream::new(),
    )
    .to_string();
    assert!(!expanded.contains("compile_error"), "{expanded}");
    assert!(
        expanded.contains("let users = db .; if users { } else"),
        "{expanded}"
    );
}

#[test]
fn what_cannot_be_read_is_left_to_the_compiler() {
    let method = "async fn f(&self, db) -> Result<u8> { Ok(1) }";
    let expanded = expand::attribute(
        AttributeName::DatabaseSafe,
        TokenStream::new(),
        &method.parse().unwrap(),
        |_| TokenStream::new(),
    )
    .to_string();
    assert!(
        expanded.contains("`#[database_safe]` cannot read this method: expected `:`"),
        "{expanded}"
    );
    assert!(
        expanded.ends_with("async fn f (& self , db) -> Result < u8 > { Ok (1) }"),
        "{expanded}"
    );
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The Rust files and the folders of a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.is_dir() || path.extension().is_some_and(|extension| extension == "rs")
    });
    paths.sort();
    paths
}

fn is_expanded(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".expanded.rs")
}

fn parse(path: &Path) -> File {
    syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn orders(attributes: Vec<Attribute>) -> Vec<Vec<Attribute>> {
    if attributes.len() < 2 {
        return vec![attributes];
    }
    let with_first = |first: usize| {
        let mut rest = attributes.clone();
        let first = rest.remove(first);
        orders(rest).into_iter().map(move |mut order| {
            order.insert(0, first.clone());
            order
        })
    };
    (0..attributes.len()).flat_map(with_first).collect()
}

fn expand_file(path: &Path) -> TokenStream {
    parse(path).items.into_iter().map(expand_item).collect()
}

fn expand_item(item: Item) -> TokenStream {
    match item {
        Item::Impl(mut block) => {
            let items = std::mem::take(&mut block.items);
            // What a macro emits for one method may be several items.
            block.items = items
                .into_iter()
                .map(|item| ImplItem::Verbatim(expand_method(item)))
                .collect();
            quote!(#block)
        }
        Item::Struct(item) => derive::db_manager(item.to_token_stream(), None),
        other => other.to_token_stream(),
    }
}

/// As the compiler does: the first attribute is taken off and called with the rest.
fn expand_method(item: ImplItem) -> TokenStream {
    let ImplItem::Fn(mut method) = item else {
        return item.to_token_stream();
    };
    let first = method
        .attrs
        .iter()
        .position(|attribute| Given::sibling(attribute).is_some())
        .unwrap();
    let given = Given::sibling(&method.attrs.remove(first)).unwrap();
    expand::attribute(
        given.name,
        given.arguments,
        &method.to_token_stream(),
        |_| TokenStream::new(),
    )
}
