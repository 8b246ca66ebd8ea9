//! What the macros generate, on the screen: `tests/expand/<name>.rs` is written by a user, `<name>.expanded.rs` is what
//! the compiler gets. After an intended change, `EXPAND=overwrite cargo test -p dbm-tests --test expand` writes it anew.

#![allow(unreachable_pub, missing_debug_implementations)]

#[path = "../../dbm-macros/src/attributes.rs"]
mod attributes;
#[path = "../../dbm-macros/src/check.rs"]
mod check;
#[path = "../../dbm-macros/src/derive.rs"]
mod derive;
#[path = "../../dbm-macros/src/expand.rs"]
mod expand;
#[path = "../../dbm-macros/src/method.rs"]
mod method;

use attributes::Given;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use std::path::Path;
use syn::{File, ImplItem, Item};

const SCREEN: usize = 45;

#[test]
fn database_safe() {
    snapshot("database_safe");
}

#[test]
fn every_attribute() {
    snapshot("every_attribute");
}

#[test]
fn both_failure_policies() {
    snapshot("both_failure_policies");
}

#[test]
fn arc_receiver() {
    snapshot("arc_receiver");
}

#[test]
fn result_alias() {
    snapshot("result_alias");
}

#[test]
fn timed_alone() {
    snapshot("timed_alone");
}

#[test]
fn required_argument_alone() {
    snapshot("required_argument_alone");
}

#[test]
fn generics_and_patterns() {
    snapshot("generics_and_patterns");
}

#[test]
fn after_a_wrong_attribute() {
    snapshot("after_a_wrong_attribute");
}

#[test]
fn after_a_wrong_signature() {
    snapshot("after_a_wrong_signature");
}

#[test]
fn derive_db_manager() {
    snapshot("derive");
}

fn snapshot(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("expand");
    let written = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
    let file = syn::parse_file(&written).unwrap();
    let expanded = prettyplease::unparse(&syn::parse2(expand_file(file)).unwrap());
    assert!(expanded.lines().count() <= SCREEN, "{name} does not fit on a screen:\n{expanded}");
    let kept = folder.join(format!("{name}.expanded.rs"));
    if std::env::var_os("EXPAND").is_some_and(|value| value == "overwrite") {
        std::fs::write(&kept, &expanded).unwrap();
    }
    assert_eq!(expanded, std::fs::read_to_string(kept).unwrap_or_default(), "{name}");
}

fn expand_file(file: File) -> TokenStream {
    file.items.into_iter().map(expand_item).collect()
}

fn expand_item(item: Item) -> TokenStream {
    match item {
        Item::Impl(mut block) => {
            let items = std::mem::take(&mut block.items);
            let methods = items.into_iter().map(|item| ImplItem::Verbatim(expand_method(item)));
            block.items = methods.collect();
            // What a macro emits for one method may be several items.
            let tokens = block.to_token_stream();
            quote!(#tokens)
        }
        Item::Struct(item) => derive::db_manager(item.to_token_stream()),
        other => other.to_token_stream(),
    }
}

/// As the compiler does: the first attribute is taken off and called with the rest.
fn expand_method(item: ImplItem) -> TokenStream {
    let ImplItem::Fn(mut method) = item else { return item.to_token_stream() };
    let first = method.attrs.iter().position(|attribute| Given::sibling(attribute).is_some()).unwrap();
    let given = Given::sibling(&method.attrs.remove(first)).unwrap();
    expand::attribute(given.kind, given.arguments, &method.to_token_stream())
}
