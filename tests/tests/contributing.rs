//! The recipe of CONTRIBUTING.md for an attribute, followed: what its command finds is what its list names.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The text between a heading of the second level and the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The files that a `grep -rn` finds, run as it is printed.
fn found(root: &Path, command: &str) -> BTreeSet<String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command} finds nothing");
    let output = String::from_utf8(output.stdout).unwrap();
    output
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_list_of_places_for_an_attribute_is_complete_and_names_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let recipe = section(&page, "How to add an attribute");
    let (_, rest) = recipe.split_once("```sh\n").unwrap();
    let (command, list) = rest.split_once("```\n").unwrap();
    let files = found(&root, command);

    // A place is written as a path from the root: a file, or a folder with a slash at its end.
    let places: BTreeSet<String> = list
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| {
            ["dbm-", "tests/", "docs/"]
                .iter()
                .any(|start| code.starts_with(start))
                || code.ends_with(".md")
        })
        .map(|place| place.replace("audited", "during_init"))
        .collect();
    let is_in = |file: &str, place: &str| {
        file == place || (place.ends_with('/') && file.starts_with(place))
    };

    let unnamed: Vec<_> = files
        .iter()
        .filter(|file| !places.iter().any(|place| is_in(file, place)))
        .collect();
    assert!(unnamed.is_empty(), "the list does not name {unnamed:#?}");
    let idle: Vec<_> = places
        .iter()
        .filter(|place| !files.iter().any(|file| is_in(file, place)))
        .collect();
    assert!(idle.is_empty(), "the command finds nothing in {idle:#?}");
}
