//! What the compiler says of each mistake; see `tests/ui/README.md`.

#![allow(clippy::unwrap_used)]

mod compiler;
mod output;

use std::fs;
use std::path::{Path, PathBuf};

use compiler::Compiler;
use output::{essence, headlines, quotes_std};

#[test]
fn every_mistake_is_one_error_on_the_right_token() {
    let Some(compiler) = Compiler::find("every_mistake_is_one_error_on_the_right_token") else {
        return;
    };
    let cases = cases();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    let outputs = compiler.check(&cases);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let said = outputs.get(case).map_or("", String::as_str);
            wrong(&compiler, case, said)
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} mistakes; `cargo bless` accepts what is said:\n\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// A heading quotes between double backticks, with `..` and `…` for what it leaves out.
#[test]
fn the_questions_quote_what_the_compiler_says() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outputs: Vec<String> = cases()
        .iter()
        .filter_map(|case| fs::read_to_string(package.join(case).with_extension("stderr")).ok())
        .collect();
    let page = fs::read_to_string(package.join("../docs/faq.md")).unwrap();
    let headings = page
        .lines()
        .skip_while(|line| *line != "## What the compiler says")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("### "));
    let quotes: Vec<&str> = headings
        .flat_map(|heading| heading.split("``").skip(1).step_by(2))
        .collect();
    assert!(quotes.len() > 20, "only {} quotes", quotes.len());
    for quote in quotes {
        let is_said = |output: &String| {
            let mut rest = output.as_str();
            quote.split(['.', '…']).all(|part| {
                let found = rest.split_once(part.trim());
                rest = found.map_or("", |(_, rest)| rest);
                found.is_some()
            })
        };
        assert!(outputs.iter().any(is_said), "nothing says: {quote}");
    }
}

/// Every file below `ui`, relative to this package.
fn cases() -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut cases: Vec<PathBuf> = files(package.join("ui"))
        .flat_map(|folder| files(folder.path()))
        .map(|entry| entry.path().strip_prefix(package).unwrap().to_owned())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    cases
}

/// How what is said of a case differs from what is kept beside it. Another compiler words its notes in another way, and
/// this one does where it has the source of std to quote; only the errors are compared then, and where they stand.
fn wrong(compiler: &Compiler, case: &Path, said: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(case.with_extension("stderr"));
    let kept = fs::read_to_string(&file)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    let same = if compiler.is_pinned() && !quotes_std(said) {
        essence(said) == essence(&kept)
    } else {
        headlines(said) == headlines(&kept)
    };
    if !said.is_empty() && same {
        return None;
    }
    if std::env::var_os("UI").is_some_and(|value| value == "overwrite") {
        fs::write(&file, output::to_keep(said)).unwrap();
        return None;
    }
    Some(format!(
        "== {}, kept:\n{kept}\n-- said:\n{said}",
        case.display()
    ))
}
