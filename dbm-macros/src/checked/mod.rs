//! SQL, checked by SQLite itself when the program compiles.
//!
//! One way through: `scan` finds the statements of a body in its tokens (`text` and `arguments` read what they are given),
//! `known` has the folders of the package and their schemas, each in a `database`, `judge` says what is wrong with a
//! statement there, and `emit` lets the compiler say it, if the method is one of a manager with that folder. `proof` looks
//! at the files themselves. Where it is not sure, it says nothing.

mod arguments;
mod database;
mod emit;
mod excerpt;
mod fault;
mod judge;
mod known;
mod proof;
mod scan;
mod sql;
mod text;

use crate::check::Plan;
use crate::keys::Checked;
use crate::schema::Folder;
use crate::types::handle_name;
use proc_macro2::TokenStream;
use syn::{DeriveInput, Error, Pat, Result};

pub(crate) use sql::sql;

/// What is wrong with the statements of a method, for each folder that it could be about.
pub(crate) fn statements(plan: &Plan) -> TokenStream {
    let (Some(handle), Some(body)) = (&plan.handle, &plan.method.body) else {
        return TokenStream::new();
    };
    let reads = match handle_name(&handle.ty).as_deref() {
        Some("ReadTransaction") => true,
        Some("WriteTransaction") => false,
        // A connection may have any other database attached.
        _ => return TokenStream::new(),
    };
    let Pat::Ident(pattern) = &handle.pattern else {
        return TokenStream::new();
    };
    let found = scan::statements(body.stream(), &pattern.ident.to_string());
    if found.is_empty() {
        return TokenStream::new();
    }
    let faults = known::with(|known| {
        let judged = known.iter_mut().map(|known| {
            let faults = known
                .newest()
                .map(|database| judge::body(database, &found, reads));
            (known.folder.path.clone(), faults)
        });
        judged.collect::<Vec<_>>()
    });
    let faults = faults.unwrap_or_default();
    let is_wrong_everywhere = |place: usize| {
        let has = |faults: &Option<Vec<(usize, fault::Fault)>>| {
            faults.iter().flatten().any(|(other, _)| *other == place)
        };
        faults.iter().all(|(_, faults)| has(faults))
    };
    let mut said = TokenStream::new();
    for (folder, faults) in &faults {
        for (place, fault) in faults.iter().flatten() {
            let text = &found[*place].text;
            if !(text.is_checked && is_wrong_everywhere(*place)) {
                said.extend(emit::fault(text, fault, folder));
            }
        }
    }
    said
}

/// What is wrong with the files of a manager, or what lets its methods know that they are checked.
pub(crate) fn files(
    input: &DeriveInput,
    folder: &Folder,
    checked: &Checked,
) -> Result<TokenStream> {
    let faults = proof::faults(folder, checked.strict).into_iter();
    let errors = faults.map(|fault| Error::new(checked.span, fault));
    let all = errors.reduce(|mut all, error| {
        all.combine(error);
        all
    });
    match all {
        Some(all) => Err(all),
        None => Ok(emit::checked(input, &folder.path, checked)),
    }
}
