//! The page of promises names tests that exist.

use std::fs;
use std::path::Path;

/// `file::test`, or `directory::file::test`.
fn exists(name: &str) -> bool {
    let Some((file, test)) = name.rsplit_once("::") else {
        return false;
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let source = tests.join(file.replace("::", "/")).with_extension("rs");
    fs::read_to_string(source).is_ok_and(|source| source.contains(&format!("fn {test}()")))
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RELIABILITY.md");
    let page = fs::read_to_string(page).unwrap();
    let names: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`'))
        .filter(|name| name.split("::").count() > 1)
        .filter(|name| name.starts_with(|letter: char| letter.is_lowercase()))
        .filter(|name| !name.contains(['(', ' ']))
        .collect();
    assert!(names.len() > 100, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
